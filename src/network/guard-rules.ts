import {
  above,
  compare,
  type Expression,
  lookup,
  meta,
  payload,
  register,
  verdict,
} from "../linux/netlink/nft-expressions.ts";

/** The rules of the guard's chain, as lists of expressions: pure. All keys begin with the name of the port. */

const R = register;
/** An interface's name fills four registers. */
const AFTER_NAME = R(4);
const AFTER_MAC = R(6);

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
/** Ethernet, IPv4, and the lengths of their addresses (RFC 826). */
const ARP_OF_IPV4 = Buffer.from([0, 1, 8, 0, 6, 4]);
const UDP = Buffer.from([17]);
const ICMPV6 = Buffer.from([58]);
const NOTHING4 = Buffer.alloc(4);
const NOTHING6 = Buffer.alloc(16);
/** Of servers, to clients. */
const DHCP4 = Buffer.from([0, 67, 0, 68]);
const DHCP6 = Buffer.from([2, 35, 2, 34]);
const ROUTER_ADVERTISEMENT = Buffer.from([134]);
const NEIGHBOUR_ADVERTISEMENT = Buffer.from([136]);
const REDIRECT = Buffer.from([137]);

const drop = verdict("drop");
const accept = verdict("accept");

const type = (name: keyof typeof ETHERTYPE): Expression[] => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(ETHERTYPE[name]);
  return [payload("link", 12, 2, R(0)), compare(R(0), "==", bytes)];
};

type Place = readonly [base: "link" | "network" | "transport", offset: number];
const ETHER_SOURCE: Place = ["link", 6];
const ARP_SENDER: Place = ["network", 8];

const port = meta("iifname", R(0));
const guarded: Expression[] = [port, lookup("ports", R(0))];
const unguarded: Expression[] = [port, lookup("ports", R(0), { not: true })];

/** The port has that MAC address (`mac`), or not. */
const hasMac = ([base, offset]: Place, not = false): Expression[] => [
  port,
  payload(base, offset, 6, AFTER_NAME),
  lookup(SETS.mac, R(0), { not }),
];

/** The port has that MAC address together with that IP address, or not. */
const has = (one: 4 | 6, mac: Place, [base, offset]: Place, not = false): Expression[] => [
  port,
  payload(mac[0], mac[1], 6, AFTER_NAME),
  payload(base, offset, one === 4 ? 4 : 16, AFTER_MAC),
  lookup(one === 4 ? SETS.ipv4 : SETS.ipv6, R(0), { not }),
];

const is = (base: "network" | "transport", offset: number, value: Buffer): Expression[] => [
  payload(base, offset, value.length, R(0)),
  compare(R(0), "==", value),
];

const protocol = (number: Buffer): Expression[] => [meta("l4proto", R(0)), compare(R(0), "==", number)];

export const SETS = { ports: "ports", mac: "mac", ipv4: "ipv4", ipv6: "ipv6" } as const;

/**
 * What a container sends with another's MAC address, IPv4 or IPv6 address, says for another (ARP, neighbour advertisements), or
 * as a router or a DHCP server, goes no further; neither does what is none of the three protocols, such as a tag of a VLAN,
 * in which it could hide. Ports that are not guarded are left alone. What is right is found out by one lookup.
 */
export function guardRules(): Expression[][] {
  return [
    [...type("ipv4"), verdict({ goto: "ipv4" })],
    [...type("ipv6"), verdict({ goto: "ipv6" })],
    [...unguarded, accept],
    [...type("arp"), verdict({ goto: "arp" })],
    [drop],
  ];
}

export function arpRules(): Expression[][] {
  return [
    [payload("network", 0, ARP_OF_IPV4.length, R(0)), compare(R(0), "!=", ARP_OF_IPV4), drop],
    [...hasMac(ETHER_SOURCE, true), drop],
    [...hasMac(ARP_SENDER, true), drop],
    // Whether somebody has an address is asked with none of one's own (RFC 5227).
    [...is("network", 14, NOTHING4), accept],
    [...has(4, ARP_SENDER, ["network", 14], true), drop],
  ];
}

export function ipv4Rules(): Expression[][] {
  return [
    [...protocol(UDP), ...is("transport", 0, DHCP4), ...guarded, drop],
    [...has(4, ETHER_SOURCE, ["network", 12]), accept],
    [...guarded, drop],
  ];
}

export function ipv6Rules(): Expression[][] {
  return [
    [...protocol(ICMPV6), verdict({ goto: "icmpv6" })],
    [...protocol(UDP), ...is("transport", 0, DHCP6), ...guarded, drop],
    [...has(6, ETHER_SOURCE, ["network", 8]), accept],
    [...guarded, drop],
  ];
}

export function icmpv6Rules(): Expression[][] {
  return [
    [...unguarded, accept],
    [...hasMac(ETHER_SOURCE, true), drop],
    [...is("transport", 0, ROUTER_ADVERTISEMENT), drop],
    [...is("transport", 0, REDIRECT), drop],
    [...is("transport", 0, NEIGHBOUR_ADVERTISEMENT), ...has(6, ETHER_SOURCE, ["transport", 8], true), drop],
    // Whether somebody has an address is asked with none of one's own (RFC 4862, 5.4.2).
    [...is("network", 8, NOTHING6), accept],
    [...has(6, ETHER_SOURCE, ["network", 8], true), drop],
  ];
}

/** What comes by a port faster than that is dropped. */
export function limitRule(port: string, bytesPerSecond: number, burst: number): Expression[] {
  const name = Buffer.alloc(16);
  name.write(port, "latin1");
  return [meta("iifname", R(0)), compare(R(0), "==", name), above(bytesPerSecond, burst), drop];
}
