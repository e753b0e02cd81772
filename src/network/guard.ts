import { codeOf } from "../base/errors.ts";
import type { Expression } from "../linux/netlink/nft-expressions.ts";
import {
  concatenated,
  deleteElements,
  deleteTable,
  flushChain,
  flushRules,
  type NftSet,
  NftSocket,
  newChain,
  newElements,
  newRule,
  newSet,
  newTable,
  type Table,
  TYPES,
} from "../linux/netlink/nftables.ts";
import type { Request } from "../linux/netlink/socket.ts";
import { addressBytes, type IpAddress } from "./address.ts";
import { burstOf } from "./bandwidth.ts";
import { arpRules, guardRules, icmpv6Rules, ipv4Rules, ipv6Rules, limitRule, SETS } from "./guard-rules.ts";

/** A port of a bridge, and who is behind it. */
export interface GuardedPort {
  /** The host's end. */
  name: string;
  /** 6 bytes. */
  mac: Buffer;
  /** Also the link-local one of an interface with IPv6. */
  addresses: readonly IpAddress[];
  /** It may send what it likes; then it is here for its `limit`. */
  trusted?: boolean;
  /** Bytes in a second that it may send; more is dropped. */
  limit?: number;
}

const IFNAME = { type: TYPES.ifname, length: 16 };
/** Before everybody else. */
const PRIORITY = -300;
/** A rule for each port with a limit: a lookup cannot have one. */
const LIMITS = "limits";

/** By a port and `length` bytes after it. */
const keyed = (name: string, id: number, length: number, ...types: number[]): NftSet => ({
  name,
  id,
  keyType: concatenated(IFNAME.type, ...types),
  keyLength: IFNAME.length + length,
});

const sets = (): NftSet[] => [
  { name: SETS.ports, id: 1, keyType: IFNAME.type, keyLength: IFNAME.length },
  keyed(SETS.mac, 2, 8, TYPES.ether),
  keyed(SETS.ipv4, 3, 12, TYPES.ether, TYPES.ipv4),
  keyed(SETS.ipv6, 4, 24, TYPES.ether, TYPES.ipv6),
];

const CHAINS: readonly [name: string, rules: () => Expression[][]][] = [
  ["icmpv6", icmpv6Rules],
  ["ipv6", ipv6Rules],
  ["ipv4", ipv4Rules],
  ["arp", arpRules],
];

/**
 * Keeps containers on a bridge from speaking for each other, so that even one with NET_RAW has its own traffic alone: a
 * table of family bridge beside the firewall's, whose rules are always the same; a port is an element of four sets.
 */
export class Guard {
  readonly table: Table;
  #socket: NftSocket | undefined;
  #port: number | undefined;
  #there = false;
  readonly #ports = new Map<string, GuardedPort>();

  constructor(name: string) {
    this.table = { family: "bridge", name };
  }

  /** Whether there are ports to guard. */
  get used(): boolean {
    return this.#ports.size > 0;
  }

  /** By which the kernel names our own changes. */
  get port(): number {
    this.#port ??= this.socket.port;
    return this.#port;
  }

  get socket(): NftSocket {
    this.#socket ??= new NftSocket();
    return this.#socket;
  }

  /** Whether the kernel has the table; false too where it knows no such tables. */
  get isThere(): boolean {
    try {
      return this.socket.tables(this.table.family).includes(this.table.name);
    } catch {
      return false;
    }
  }

  /** Throws what the kernel says where it has no nf_tables for bridges (CONFIG_NF_TABLES_BRIDGE). */
  add(port: GuardedPort): void {
    this.#ports.set(port.name, port);
    if (!this.#there) this.build();
    else this.#change([...elementsOf(port, this.table, newElements), ...this.#limit(port)]);
  }

  remove(name: string): void {
    const port = this.#ports.get(name);
    if (!port || !this.#ports.delete(name) || !this.#there) return;
    this.#change(elementsOf(port, this.table, deleteElements));
    if (port.limit !== undefined) this.#change([flushChain(this.table, LIMITS), ...this.#limits()]);
  }

  /** Makes the table what it should be; whatever was in it goes. */
  build(): void {
    const { table } = this;
    const requests: Request[] = [newTable(table), deleteTable(table), newTable(table), flushRules(table)];
    for (const set of sets()) requests.push(newSet(table, set));
    for (const [name, rules] of CHAINS) {
      requests.push(newChain(table, { name }));
      for (const rule of rules()) requests.push(newRule(table, name, rule));
    }
    requests.push(newChain(table, { name: "guard", base: { type: "filter", hook: "prerouting", priority: PRIORITY } }));
    for (const rule of guardRules()) requests.push(newRule(table, "guard", rule));
    requests.push(
      newChain(table, { name: LIMITS, base: { type: "filter", hook: "prerouting", priority: PRIORITY + 1 } }),
    );
    requests.push(...this.#limits());
    for (const port of this.#ports.values()) requests.push(...elementsOf(port, table, newElements));
    this.socket.transaction(requests);
    this.#there = true;
  }

  /** Takes the table away, if it is there. */
  withdraw(): void {
    this.#ports.clear();
    this.#there = false;
    if (this.isThere) this.socket.transaction([deleteTable(this.table)]);
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#port = undefined;
  }

  #limits(): Request[] {
    return [...this.#ports.values()].flatMap((port) => this.#limit(port));
  }

  #limit({ name, limit }: GuardedPort): Request[] {
    return limit === undefined ? [] : [newRule(this.table, LIMITS, limitRule(name, limit, burstOf(limit)))];
  }

  #change(requests: readonly Request[]): void {
    try {
      this.socket.transaction(requests);
    } catch (error) {
      // Somebody has flushed it, or has had his hands in it.
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "EEXIST") throw error;
      this.build();
    }
  }
}

function elementsOf(
  { name, mac, addresses, trusted }: GuardedPort,
  table: Table,
  messages: typeof newElements,
): Request[] {
  if (trusted) return [];
  const port = Buffer.alloc(IFNAME.length);
  port.write(name, "latin1");
  const own = Buffer.concat([port, mac, Buffer.alloc(2)]);
  const of = (family: number) =>
    addresses.filter((one) => one.family === family).map((one) => ({ key: Buffer.concat([own, addressBytes(one)]) }));
  return [
    ...messages(table, SETS.mac, [{ key: own }]),
    ...messages(table, SETS.ipv4, of(4)),
    ...messages(table, SETS.ipv6, of(6)),
    // Last: from here on it is held to the others.
    ...messages(table, SETS.ports, [{ key: port }]),
  ];
}

/** The link-local address that the kernel gives an interface (RFC 4291, appendix A). */
export function linkLocal(mac: Buffer): IpAddress {
  const identifier = Buffer.from([mac[0]! ^ 2, mac[1]!, mac[2]!, 0xff, 0xfe, mac[3]!, mac[4]!, mac[5]!]);
  return { family: 6, value: (0xfe80n << 112n) | identifier.readBigUInt64BE() };
}
