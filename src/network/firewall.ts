import { codeOf, messageOf, unavailable } from "../base/errors.ts";
import { type Expression, verdict } from "../linux/netlink/nft-expressions.ts";
import {
  concatenated,
  deleteElements,
  deleteTable,
  type Element,
  flushRules,
  NFPROTO,
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
import { addressBytes, type IpAddress, type IpFamily, type Subnet } from "./address.ts";
import { EgressTable, isDisturbed } from "./egress-table.ts";
import { FAMILIES, forward, leaving, noLocalhost, toContainer, toHost } from "./firewall-rules.ts";

export type Protocol = "tcp" | "udp" | "sctp";
export const PROTOCOLS: Record<Protocol, number> = { tcp: 6, udp: 17, sctp: 132 };

/** A port of the host that leads into a container. */
export interface PublishedPort {
  protocol: Protocol;
  /** Absent: every address that the host has. */
  hostAddress?: IpAddress;
  hostPort: number;
  container: IpAddress;
  containerPort: number;
  /** No translation: the container's own address is reached, at this port and the other open ones. */
  routed?: boolean;
}

/** What the firewall knows of a network. */
export interface FirewallNetwork {
  bridge: string;
  subnets: readonly Subnet[];
  /** Families whose packets leave with the host's address. */
  masquerade: readonly IpFamily[];
  /** Nothing comes in or goes out. */
  internal: boolean;
  /** From outside only published ports are reached. */
  closed: boolean;
}

/** The kernel's numbers (nft(8), "Priority"). */
const PRIORITY = { raw: -300, dstnat: -100, filter: 0, srcnat: 100 };

const SERVICE = { type: concatenated(TYPES.inetProto, TYPES.inetService), length: 8 };
const AT: Record<IpFamily, { type: number; length: number }> = {
  4: { type: concatenated(TYPES.ipv4, TYPES.inetProto, TYPES.inetService), length: 12 },
  6: { type: concatenated(TYPES.ipv6, TYPES.inetProto, TYPES.inetService), length: 24 },
};
const TARGET: Record<IpFamily, { type: number; length: number }> = {
  4: { type: concatenated(TYPES.ipv4, TYPES.inetService), length: 8 },
  6: { type: concatenated(TYPES.ipv6, TYPES.inetService), length: 20 },
};

/** Ports by protocol and number, and by address too; ports of containers that are reached at their own address. */
function sets(): NftSet[] {
  let id = 0;
  return FAMILIES.flatMap((family): NftSet[] => [
    { name: `ports${family}`, id: ++id, keyType: SERVICE.type, keyLength: SERVICE.length, data: TARGET[family] },
    {
      name: `ports${family}-at`,
      id: ++id,
      keyType: AT[family].type,
      keyLength: AT[family].length,
      data: TARGET[family],
    },
    { name: `open${family}`, id: ++id, keyType: AT[family].type, keyLength: AT[family].length },
  ]);
}

/**
 * inro's one nf_tables table (family inet), and what belongs into it. Rules are few: one set for each network; ports are
 * elements of maps, so that one more costs the packets nothing. It is made with the first network, and made anew, in one
 * transaction and with nothing missing meanwhile, whenever a network comes or goes or somebody has flushed it.
 */
export class Firewall {
  readonly table: Table;
  #socket: NftSocket | undefined;
  #port: number | undefined;
  #there = false;
  /**
   * The host forwards for containers alone: what is neither from one nor to one is dropped. Where it was a router before
   * us, that is nobody's business here.
   */
  strangers: "accept" | "drop" = "accept";
  readonly #networks = new Map<string, FirewallNetwork>();
  readonly #ports = new Map<string, PublishedPort>();
  /** What containers may send beyond their networks. */
  readonly egress: EgressTable;

  /** `group`: where denied packets are told of (nfnetlink_log). */
  constructor(name: string, group?: number) {
    this.table = { family: "inet", name };
    this.egress = new EgressTable(this.table, group, {
      change: (requests) => this.#change(requests),
      build: () => this.build(),
      elements: (set) => this.socket.elements(this.table, set).map(({ key }) => key),
      counter: (counter) => this.socket.counter(this.table, counter),
    });
  }

  get networks(): readonly FirewallNetwork[] {
    return [...this.#networks.values()];
  }

  get ports(): readonly PublishedPort[] {
    return [...this.#ports.values()];
  }

  /** Whether the kernel has the table. */
  get isThere(): boolean {
    return this.socket.tables(this.table.family).includes(this.table.name);
  }

  /** Whether there is anybody to have rules for. */
  get used(): boolean {
    return this.#networks.size > 0;
  }

  /** Chains of others that drop forwarded packets unless a rule of theirs says otherwise: `ip filter FORWARD`. */
  get obstacles(): string[] {
    const names: Record<number, string> = { [NFPROTO.ipv4]: "ip", [NFPROTO.ipv6]: "ip6", [NFPROTO.inet]: "inet" };
    return this.socket
      .droppingChains("forward")
      .map(({ family: number, table, name }) => `${names[number] ?? "bridge"} ${table} ${name}`);
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

  /** A kernel without nf_tables is `unavailable`. */
  addNetwork(network: FirewallNetwork): void {
    const before = this.#networks.get(network.bridge);
    if (this.#there && before && JSON.stringify(plain(before)) === JSON.stringify(plain(network))) return;
    this.#networks.set(network.bridge, network);
    try {
      this.build();
    } catch (error) {
      this.#networks.delete(network.bridge);
      throw error;
    }
  }

  removeNetwork(bridge: string): void {
    if (this.#networks.delete(bridge) && this.#there) this.build();
  }

  addPorts(ports: readonly PublishedPort[]): void {
    if (ports.length === 0) return;
    const added = ports.filter((port) => !this.#ports.has(keyOf(port)));
    for (const port of added) this.#ports.set(keyOf(port), port);
    this.#change(added.flatMap((port) => this.#elements(port, newElements)));
  }

  removePorts(ports: readonly PublishedPort[]): void {
    const removed = ports.filter((port) => this.#ports.delete(keyOf(port)));
    if (this.#there) this.#change(removed.flatMap((port) => this.#elements(port, deleteElements)));
  }

  /** Makes the table what it should be. `fresh`: whatever was in it goes first. */
  build(fresh = false): void {
    const { table } = this;
    const requests: Request[] = [newTable(table)];
    if (fresh) requests.push(deleteTable(table), newTable(table));
    requests.push(flushRules(table), ...sets().map((set) => newSet(table, set)));
    const { parts, chains, elements } = this.egress.content();
    requests.push(...parts);
    for (const { name, base, rules } of [...chains, ...this.#chains()]) {
      requests.push(newChain(table, { name, ...(base ? { base } : {}) }));
      for (const rule of rules) requests.push(newRule(table, name, rule));
    }
    for (const port of this.#ports.values()) requests.push(...this.#elements(port, newElements));
    requests.push(...elements);
    this.#carryOut(requests);
    this.#there = true;
  }

  /** Takes the table away, if it is there. */
  remove(): void {
    this.#there = false;
    this.#carryOut([newTable(this.table), deleteTable(this.table)]);
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#port = undefined;
  }

  #change(requests: readonly Request[]): void {
    if (!this.#there) {
      this.build();
      return;
    }
    try {
      this.socket.transaction(requests);
    } catch (error) {
      // Somebody has flushed it, or has had his hands in it.
      if (!isDisturbed(error)) throw error;
      this.build(true);
    }
  }

  #carryOut(requests: readonly Request[]): void {
    try {
      this.socket.transaction(requests);
    } catch (error) {
      const missing = ["EOPNOTSUPP", "EPROTONOSUPPORT", "ENOPROTOOPT"].includes(codeOf(error) ?? "");
      const why = missing ? "; this kernel has no nf_tables with NAT (CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT)" : "";
      throw unavailable(`firewall table ${this.table.name}: ${messageOf(error)}${why}`, error);
    }
  }

  #elements(port: PublishedPort, messages: typeof newElements): Request[] {
    const { container, containerPort, hostAddress, routed } = port;
    const { family } = container;
    const protocol = PROTOCOLS[port.protocol];
    if (routed) {
      const key = Buffer.concat([addressBytes(container), service(protocol, containerPort)]);
      return messages(this.table, `open${family}`, [{ key }]);
    }
    const data = Buffer.concat([addressBytes(container), padded(containerPort)]);
    const host = service(protocol, port.hostPort);
    const element: Element = { key: hostAddress ? Buffer.concat([addressBytes(hostAddress), host]) : host, data };
    return messages(this.table, hostAddress ? `ports${family}-at` : `ports${family}`, [element]);
  }

  #chains(): { name: string; base?: Parameters<typeof newChain>[1]["base"]; rules: Expression[][] }[] {
    const networks = this.networks;
    const egress = this.egress.rules();
    return [
      { name: "ports", rules: FAMILIES.flatMap(toContainer) },
      {
        name: "raw",
        base: { type: "filter", hook: "prerouting", priority: PRIORITY.raw },
        rules: networks.flatMap(noLocalhost),
      },
      {
        name: "prerouting",
        base: { type: "nat", hook: "prerouting", priority: PRIORITY.dstnat },
        rules: [[verdict({ jump: "ports" })]],
      },
      {
        name: "output",
        base: { type: "nat", hook: "output", priority: PRIORITY.dstnat },
        rules: [[verdict({ jump: "ports" })]],
      },
      {
        name: "forward",
        base: { type: "filter", hook: "forward", priority: PRIORITY.filter },
        rules: forward(networks, this.strangers, egress),
      },
      ...(egress.length > 0
        ? [
            {
              name: "input",
              base: { type: "filter", hook: "input", priority: PRIORITY.filter } as const,
              rules: toHost(egress),
            },
          ]
        : []),
      {
        name: "postrouting",
        base: { type: "nat", hook: "postrouting", priority: PRIORITY.srcnat },
        rules: networks.flatMap(leaving),
      },
    ];
  }
}

const plain = ({ subnets, ...rest }: FirewallNetwork) => ({
  ...rest,
  subnets: subnets.map((s) => [s.base.toString(), s.prefix]),
});

function keyOf({ protocol, hostAddress, hostPort, container, containerPort, routed }: PublishedPort): string {
  if (routed) return `${protocol} ${container.value} ${containerPort}`;
  return `${protocol} ${container.family} ${hostAddress ? hostAddress.value : "any"} ${hostPort}`;
}

/** A port as a part of a key: two bytes, filled up. */
function padded(port: number): Buffer {
  return Buffer.from([port >> 8, port & 255, 0, 0]);
}

const service = (protocol: number, port: number) => Buffer.concat([Buffer.from([protocol, 0, 0, 0]), padded(port)]);
