import { readFileSync, statSync } from "node:fs";
import { messageOf } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { contains, parseAddress } from "../../network/address.ts";
import { NameServer, type Names } from "../../network/dns/server.ts";
import { type Server, Upstream } from "../../network/dns/upstream.ts";
import type { Container } from "../container.ts";
import { openNamespaceOf } from "../join.ts";
import type { ContainerTable } from "../table.ts";
import { hostServers } from "./container-files.ts";
import type { EgressControl } from "./egress.ts";
import type { Networks } from "./networks.ts";
import type { NetworkRecord } from "./records.ts";

interface Found {
  ipv4: string[];
  ipv6: string[];
}

/** Who is in a network: addresses by name in lower case, and a name by address. */
interface Directory {
  names: Map<string, Found>;
  addresses: Map<string, string>;
}

const HOST_FILE = "/etc/resolv.conf";

/**
 * The name servers of containers: each one in a network that a user has made has one, and knows the others there by name,
 * alias, short id, and those with the network's name behind. The default network has none, as in docker. They end with
 * the engine; the next one makes them anew.
 */
export class ContainerDns {
  readonly #upstream = new Upstream();
  readonly #servers = new Map<string, NameServer>();
  readonly #directories = new Map<string, Directory>();
  #turn = 0;
  #host: { servers: Server[]; mtimeMs: number } | undefined;

  constructor(
    private readonly networks: Networks,
    private readonly table: ContainerTable,
    private readonly egress: EgressControl,
    private readonly log: (line: string) => void,
  ) {}

  /** Whether a container is to have one. */
  serves(container: Container): boolean {
    const { record } = container;
    // What names stand for is learned from answers.
    if (record.endpoints && this.egress.policy(container)?.closed) return true;
    return Object.keys(record.endpoints ?? {}).some((id) => this.networks.byId(id)?.name !== "bridge");
  }

  /** Serves in `namespace`, which stays the caller's; without one, in that of the running container. */
  async open(container: Container, namespace?: number): Promise<void> {
    if (this.#servers.has(container.id)) return;
    const own = namespace ?? (container.running && openNamespaceOf(container.running, "network"));
    if (own === undefined) return;
    try {
      const options = {
        namespace: own,
        names: this.#namesFor(container),
        upstream: this.#upstream,
        onAnswer: (name: string, addresses: readonly { address: string; ttl: number }[]) =>
          this.egress.answered(container, name, addresses),
      };
      this.#servers.set(container.id, await NameServer.open(options));
    } finally {
      if (namespace === undefined) close(own);
    }
  }

  /** After a restart of the engine: of all that run. */
  async adopt(): Promise<void> {
    for (const container of this.table.all()) {
      if (!container.running || !container.state.network || !this.serves(container)) continue;
      try {
        await this.open(container);
      } catch (error) {
        this.log(`container ${container.id.slice(0, 12)}: its name server: ${messageOf(error)}`);
      }
    }
  }

  /** A container's run is over, or one without names now. */
  end(id: string): void {
    this.#servers.get(id)?.close();
    this.#servers.delete(id);
  }

  /** Somebody has come or gone, or has another name. */
  changed(): void {
    this.#directories.clear();
  }

  close(): void {
    for (const id of [...this.#servers.keys()]) this.end(id);
  }

  #namesFor(container: Container): Names {
    /** Those in which there are names, in the order of their names. */
    const mine = (): NetworkRecord[] =>
      (container.state.network?.endpoints ?? [])
        .flatMap(({ network }) => this.networks.byId(network) ?? [])
        .filter(({ name }) => name !== "bridge")
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    return {
      find: (name) => {
        const found = { ipv4: new Set<string>(), ipv6: new Set<string>() };
        let known = false;
        for (const network of mine()) {
          const wanted = linked(container, network, name) ?? name;
          const one = this.#directory(network).names.get(wanted);
          if (!one) continue;
          known = true;
          for (const address of one.ipv4) found.ipv4.add(address);
          for (const address of one.ipv6) found.ipv6.add(address);
        }
        if (!known) return undefined;
        const turn = this.#turn++;
        return { ipv4: inTurn([...found.ipv4], turn), ipv6: inTurn([...found.ipv6], turn) };
      },
      nameOf: (text) => {
        const address = parseAddress(text);
        if (!address) return null;
        const networks = mine();
        const near = networks.filter((network) =>
          this.networks.addresses(network).subnets.some((subnet) => contains(subnet, address)),
        );
        if (near.length === 0) return null;
        for (const network of near) {
          const name = this.#directory(network).addresses.get(keyOf(text));
          if (name !== undefined) return name;
        }
        return undefined;
      },
      servers: (name) => {
        if (!this.egress.mayAsk(container, name)) return undefined;
        // What is asked of the world would leave by the host, and an internal network has no way out.
        const ways = (container.state.network?.endpoints ?? []).map(({ network }) => this.networks.byId(network));
        if (ways.every((network) => !network || network.internal)) return [];
        const { Dns } = container.record.host;
        return Dns?.length ? Dns.map((address) => ({ address })) : this.#hostServers();
      },
    };
  }

  #directory(network: NetworkRecord): Directory {
    const known = this.#directories.get(network.id);
    if (known) return known;
    const directory: Directory = { names: new Map(), addresses: new Map() };
    for (const { id, record, state } of this.networks.users(network.id)) {
      const endpoint = state.network!.endpoints.find((one) => one.network === network.id)!;
      const aliases = record.endpoints?.[network.id]?.aliases ?? [];
      for (const name of new Set([record.name, id.slice(0, 12), ...aliases])) {
        for (const key of [name, `${name}.${network.name}`]) {
          const lower = key.toLowerCase();
          const found = directory.names.get(lower) ?? { ipv4: [], ipv6: [] };
          if (endpoint.ipv4) found.ipv4.push(endpoint.ipv4);
          if (endpoint.ipv6) found.ipv6.push(endpoint.ipv6);
          directory.names.set(lower, found);
        }
      }
      for (const address of [endpoint.ipv4, endpoint.ipv6]) {
        if (address) directory.addresses.set(keyOf(address), `${record.name}.${network.name}`);
      }
    }
    this.#directories.set(network.id, directory);
    return directory;
  }

  /** The host's own, those on its loopback too: it is the host that asks. */
  #hostServers(): Server[] {
    const mtimeMs = statSync(HOST_FILE, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (this.#host?.mtimeMs !== mtimeMs) {
      const text = mtimeMs === 0 ? "" : readFileSync(HOST_FILE, "utf8");
      this.#host = { mtimeMs, servers: hostServers(text).map((address) => ({ address })) };
    }
    return this.#host.servers;
  }
}

/** Each answer begins with another. */
function inTurn(addresses: string[], turn: number): string[] {
  const first = addresses.length === 0 ? 0 : turn % addresses.length;
  return [...addresses.slice(first), ...addresses.slice(0, first)];
}

/** The container that is meant by a name that only this container gives it (`--link web:db` on a network of its own). */
function linked({ record }: Container, network: NetworkRecord, name: string): string | undefined {
  for (const link of record.endpoints?.[network.id]?.links ?? []) {
    const [target = "", alias = target] = link.split(":");
    if (alias.toLowerCase() === name) return target.toLowerCase();
  }
  return undefined;
}

/** IPv6 has many ways to write an address. */
function keyOf(text: string): string {
  const address = parseAddress(text);
  return address ? `${address.family} ${address.value}` : text;
}
