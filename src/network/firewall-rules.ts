import {
  bitwise,
  CT_DNAT,
  CT_STATE,
  compare,
  ct,
  destinationType,
  type Expression,
  lookup,
  masquerade,
  meta,
  nat,
  payload,
  RTN_LOCAL,
  register,
  verdict,
} from "../linux/netlink/nft-expressions.ts";
import { NFPROTO } from "../linux/netlink/nftables.ts";
import { addressBytes, BITS, type IpAddress, type IpFamily, type Subnet } from "./address.ts";
import type { FirewallNetwork } from "./firewall.ts";

/** The rules of the firewall's chains, as lists of expressions: pure. Each uses the registers from 0 on as it likes. */

export const FAMILIES: readonly IpFamily[] = [4, 6];

const R = register;

/** The packet is of that family. */
export const family = (one: IpFamily): Expression[] => [
  meta("nfproto", R(0)),
  compare(R(0), "==", Buffer.from([one === 4 ? NFPROTO.ipv4 : NFPROTO.ipv6])),
];

const ifname = (name: string) => {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
};
const from = (bridge: string, operator: "==" | "!=" = "=="): Expression[] => [
  meta("iifname", R(0)),
  compare(R(0), operator, ifname(bridge)),
];
const to = (bridge: string, operator: "==" | "!=" = "=="): Expression[] => [
  meta("oifname", R(0)),
  compare(R(0), operator, ifname(bridge)),
];

/** Words of the machine's own byte order. */
function word(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

const hasBits = (key: "state" | "status", bits: number): Expression[] => [
  ct(key, R(0)),
  bitwise(R(0), R(0), word(bits)),
  compare(R(0), "!=", word(0)),
];

const SOURCE: Record<IpFamily, number> = { 4: 12, 6: 8 };
const DESTINATION: Record<IpFamily, number> = { 4: 16, 6: 24 };

/** The packet's source, or its destination, is in the subnet. */
export function inSubnet(end: "source" | "destination", { family: one, base, prefix }: Subnet): Expression[] {
  const length = BITS[one] / 8;
  const mask = ((1n << BigInt(prefix)) - 1n) << BigInt(BITS[one] - prefix);
  return [
    ...family(one),
    payload("network", (end === "source" ? SOURCE : DESTINATION)[one], length, R(0)),
    bitwise(R(0), R(0), addressBytes({ family: one, value: mask })),
    compare(R(0), "==", addressBytes({ family: one, value: base })),
  ];
}

/** Destination address (`at`), protocol and port, as the keys of the sets have them; the register after them. */
function destination(one: IpFamily, at: boolean): { load: Expression[]; next: number } {
  const words = at ? BITS[one] / 32 : 0;
  const load = [
    ...(at ? [payload("network", DESTINATION[one], BITS[one] / 8, R(0))] : []),
    meta("l4proto", R(words)),
    payload("transport", 2, 2, R(words + 1)),
  ];
  return { load, next: words + 2 };
}

export function toContainer(one: IpFamily): Expression[][] {
  const words = BITS[one] / 32;
  const rule = (at: boolean, before: Expression[]): Expression[] => {
    const { load, next } = destination(one, at);
    const found = R(next);
    return [
      ...family(one),
      ...before,
      ...load,
      lookup(at ? `ports${one}-at` : `ports${one}`, R(0), { into: found }),
      nat("destination", one === 4 ? NFPROTO.ipv4 : NFPROTO.ipv6, { address: found, port: found + words }),
    ];
  };
  const local = [destinationType(R(0)), compare(R(0), "==", word(RTN_LOCAL))];
  // The kernel lets nothing leave the loopback with ::1: better refused than lost.
  const notLoopback = [payload("network", DESTINATION[6], 16, R(0)), compare(R(0), "!=", addressBytes(LOOPBACK6))];
  return [rule(true, []), rule(false, one === 6 ? [...local, ...notLoopback] : local)];
}

const LOOPBACK6: IpAddress = { family: 6, value: 1n };
const LOCALHOST: Subnet = { family: 4, base: 0x7f000000n, prefix: 8 };

/** A bridge lets addresses of localhost through (route_localnet), so nobody there may use them (CVE-2020-8558). */
export function noLocalhost({ bridge }: FirewallNetwork): Expression[][] {
  return (["source", "destination"] as const).map((end) => [
    ...from(bridge),
    ...inSubnet(end, LOCALHOST),
    verdict("drop"),
  ]);
}

/** An answer, or what belongs to it: whoever began it was allowed to. */
const known = (): Expression[] => [...hasBits("state", CT_STATE.established | CT_STATE.related), verdict("accept")];

/** What containers send to the host itself is held to `egress` too. */
export const toHost = (egress: readonly Expression[][]): Expression[][] => [known(), ...egress];

export function forward(
  networks: readonly FirewallNetwork[],
  strangers: "accept" | "drop",
  egress: readonly Expression[][],
): Expression[][] {
  const rules: Expression[][] = [];
  // Also what is bridged comes by here, where br_netfilter is loaded.
  for (const { bridge } of networks) rules.push([...from(bridge), ...to(bridge), verdict("accept")]);
  for (const { bridge, internal } of networks) {
    if (internal) rules.push([...from(bridge), verdict("drop")], [...to(bridge), verdict("drop")]);
  }
  rules.push(known(), ...egress);
  for (const { bridge, closed, internal } of networks) {
    if (!closed || internal) continue;
    rules.push([...to(bridge), ...hasBits("status", CT_DNAT), verdict("accept")]);
    for (const one of FAMILIES) {
      const { load } = destination(one, true);
      rules.push([...to(bridge), ...family(one), ...load, lookup(`open${one}`, R(0)), verdict("accept")]);
    }
    rules.push([...to(bridge), verdict("drop")]);
  }
  if (strangers === "accept") return rules;
  const others = networks.flatMap(({ bridge }) => [...from(bridge, "!="), ...to(bridge, "!=")]);
  return [...rules, [...others, verdict("drop")]];
}

export function leaving({ bridge, subnets, masquerade: families, internal }: FirewallNetwork): Expression[][] {
  // A port published by one's own network: the answer has to come back by us, or its sender is not the one that was asked.
  const rules: Expression[][] = subnets.map((subnet) => [
    ...to(bridge),
    ...hasBits("status", CT_DNAT),
    ...inSubnet("source", subnet),
    masquerade(),
  ]);
  rules.push([...to(bridge), ...inSubnet("source", LOCALHOST), masquerade()]);
  if (internal) return rules;
  for (const subnet of subnets) {
    if (families.includes(subnet.family))
      rules.push([...to(bridge, "!="), ...inSubnet("source", subnet), masquerade()]);
  }
  return rules;
}
