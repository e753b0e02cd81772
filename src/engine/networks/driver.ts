import { readdirSync } from "node:fs";
import { messageOf, notFound } from "../../base/errors.ts";
import { addressOfBytes, type IpFamily, parseAddress, type Subnet, subnetOf } from "../../network/address.ts";
import { addPort, ensureBridge } from "../../network/bridge.ts";
import { deleteLinkAside } from "../../network/delete-link.ts";
import { Firewall } from "../../network/firewall.ts";
import { FirewallWatch } from "../../network/firewall-watch.ts";
import { Guard, linkLocal } from "../../network/guard.ts";
import { NetworkStack, readNetSysctl, writeNetSysctl } from "../../network/host.ts";
import { type Attachment, setBridgePort } from "../../network/interface.ts";
import type { NetworkAddresses } from "./addresses.ts";
import type { NetworkStore } from "./network-store.ts";
import type { EndpointState, NetworkRecord } from "./records.ts";
import {
  gatewayMode,
  ICC,
  IPVLAN_FLAGS,
  IPVLAN_MODES,
  isOn,
  MACVLAN_MODES,
  MASQUERADE,
  mtuOf,
  SPOOFING,
} from "./validate.ts";

const FAMILIES: readonly IpFamily[] = [4, 6];
/** The lower ones are where others listen. */
const FIRST_GROUP = 4096;
const GROUPS = 60_000;

/**
 * Networks in the kernel, made when they are first used: bridges, the firewall's table, and what of the host's settings
 * they need. All calls are synchronous and short.
 */
export class NetworkDriver {
  readonly firewall: Firewall;
  readonly guard: Guard;
  /** The group in which the firewall tells of what it drops: of each engine its own. */
  readonly denials: number;
  #unguarded = false;
  #stack: NetworkStack | undefined;
  /** Networks whose firewall rules are in place. */
  readonly #ready = new Set<string>();
  readonly #watch: FirewallWatch;

  constructor(
    table: string,
    private readonly router: { bootId: string; store: Pick<NetworkStore, "routerSince"> },
    private readonly log: (line: string) => void,
  ) {
    this.denials = FIRST_GROUP + (Number.parseInt(table.slice(-8), 16) % GROUPS || 0);
    this.firewall = new Firewall(table, this.denials);
    this.guard = new Guard(table);
    this.#watch = new FirewallWatch([this.firewall, this.guard], log);
  }

  get stack(): NetworkStack {
    this.#stack ??= new NetworkStack();
    return this.#stack;
  }

  /** What is written on the bridge of a network of this engine. */
  mark(networkId: string): string {
    return `${this.firewall.table.name} ${networkId}`;
  }

  /** Subnets that the host has routes to, but for the default route, and what to call them. */
  hostSubnets(): { subnet: Subnet; owner: string; direct: boolean }[] {
    const names = new Map(this.stack.links().map(({ index, name }) => [index, name]));
    const found = new Map<string, { subnet: Subnet; owner: string; direct: boolean }>();
    for (const { destination, prefixLength, link, gateway, family } of this.stack.routes()) {
      if (!destination || prefixLength === 0 || (family !== 2 && family !== 10)) continue;
      const subnet = subnetOf(addressOfBytes(destination), prefixLength);
      // Link-local and multicast are everywhere.
      if (family === 10 && (destination[0]! === 0xff || (destination[0]! === 0xfe && destination[1]! >= 0x80)))
        continue;
      const name = (link !== undefined && names.get(link)) || "an interface";
      const shown = `${subnet.base}/${prefixLength} ${name}`;
      found.set(shown, { subnet, owner: `the route of ${name}`, direct: gateway === undefined });
    }
    return [...found.values()];
  }

  /** The network's bridge, made if it is not there, with all that packets need to come through; its index. */
  ensure(network: NetworkRecord, addresses: NetworkAddresses): number {
    const { stack } = this;
    const name = network.bridge!;
    const mtu = mtuOf(network);
    const isolated = gatewayMode(network, 4) === "isolated";
    const before = stack.link(name);
    const index = ensureBridge(stack, {
      name,
      mark: this.mark(network.id),
      ...(mtu === undefined ? {} : { mtu }),
      addresses: isolated ? [] : addresses.gateways,
    });
    if (before && this.#ready.has(network.id)) return index;
    try {
      this.#enableForwarding(network, addresses);
      this.firewall.addNetwork({
        bridge: name,
        subnets: addresses.subnets,
        masquerade: FAMILIES.filter(
          (family) =>
            gatewayMode(network, family).startsWith("nat") &&
            isOn(network.options, MASQUERADE, true) &&
            !network.internal,
        ),
        internal: network.internal || isolated,
        closed: FAMILIES.some((family) => gatewayMode(network, family) !== "nat-unprotected"),
      });
      this.#ready.add(network.id);
      this.#watch.start();
      const warning = this.obstacle(network);
      if (warning) this.log(warning);
    } catch (error) {
      if (!before) stack.deleteLink(index, name);
      throw error;
    }
    return index;
  }

  /** What keeps a network's packets from being forwarded, although we let them: rules of others are theirs to change. */
  obstacle(network: NetworkRecord): string | undefined {
    if (network.internal || network.driver !== "bridge") return undefined;
    const [chain] = this.firewall.obstacles;
    if (!chain) return undefined;
    return `network ${network.name}: chain ${chain} of another firewall drops what is forwarded: where it has no rule that accepts interface ${network.bridge}, containers have no way out and none in (nft insert rule ${chain} iifname ${network.bridge} accept; the same with oifname)`;
  }

  /** How an endpoint is to be attached. A parent that is not there is notFound. */
  attachment(
    network: NetworkRecord,
    addresses: NetworkAddresses,
    endpoint: EndpointState,
    options: { publishes: boolean },
  ): Attachment {
    if (network.driver === "bridge") {
      const bridge = this.ensure(network, addresses);
      const { hairpin, isolated } = bridgePort(network, options.publishes);
      const port = hairpin || isolated ? { hairpin, isolated } : undefined;
      return { kind: "bridge", bridge, hostName: endpoint.hostInterface!, ...(port ? { port } : {}) };
    }
    const name = network.options.parent;
    if (!name) throw notFound(`network ${network.name}: driver ${network.driver} needs the option parent=INTERFACE`);
    const parent = this.stack.link(name);
    if (!parent) throw notFound(`network ${network.name}: there is no interface ${name} to be its parent`);
    if (network.driver === "macvlan") {
      return { kind: "macvlan", parent: parent.index, mode: MACVLAN_MODES[network.options.macvlan_mode ?? "bridge"]! };
    }
    const { ipvlan_mode = "l2", ipvlan_flag = "bridge" } = network.options;
    return {
      kind: "ipvlan",
      parent: parent.index,
      mode: IPVLAN_MODES[ipvlan_mode]!,
      flags: IPVLAN_FLAGS[ipvlan_flag]!,
    };
  }

  /** From now on what comes by an endpoint is its own. Before it is plugged in, so that nothing comes by before. */
  protect(network: NetworkRecord, { hostInterface, mac, ipv4, ipv6 }: EndpointState, limit?: number): void {
    const trusted = isOn(network.options, SPOOFING, false);
    if (!hostInterface || (trusted && limit === undefined)) return;
    const bytes = Buffer.from(mac.replaceAll(":", ""), "hex");
    const addresses = [ipv4, ipv6].flatMap((text) => (text && parseAddress(text)) || []);
    try {
      this.guard.add({
        name: hostInterface,
        mac: bytes,
        addresses: ipv6 ? [...addresses, linkLocal(bytes)] : addresses,
        trusted,
        ...(limit === undefined ? {} : { limit }),
      });
    } catch (error) {
      // Who has a limit must not run without it.
      if (limit !== undefined) throw error;
      if (!this.#unguarded) {
        this.log(
          `networks: containers with CAP_NET_RAW can speak for each other: ${messageOf(error)} (nf_tables of bridges: CONFIG_NF_TABLES_BRIDGE)`,
        );
      }
      this.#unguarded = true;
    }
  }

  /** The endpoint is gone. */
  unprotect({ hostInterface }: EndpointState): void {
    if (hostInterface) this.guard.remove(hostInterface);
  }

  /** A container publishes ports from now on that had none before. */
  publishes(network: NetworkRecord, { hostInterface }: EndpointState): void {
    if (hostInterface) setBridgePort(this.stack, hostInterface, bridgePort(network, true));
  }

  /** Takes a network's bridge and rules away; one that somebody else has made is left alone. */
  async remove(network: NetworkRecord): Promise<void> {
    this.#ready.delete(network.id);
    if (network.driver !== "bridge" || !network.bridge) return;
    this.firewall.removeNetwork(network.bridge);
    if (this.firewall.networks.length === 0 && this.#stack) {
      if (this.firewall.isThere) this.firewall.remove();
      this.guard.withdraw();
    }
    const link = this.stack.link(network.bridge);
    if (link?.alias === this.mark(network.id)) await deleteLinkAside(link.index);
  }

  /** After a restart, or for a bridge that was made anew: these are its ports. */
  addPorts(bridge: number, names: readonly string[]): void {
    for (const name of names) addPort(this.stack, bridge, name);
  }

  /** Takes everything away that was made. */
  withdraw(networks: readonly NetworkRecord[]): void {
    if (networks.length === 0) return;
    for (const network of networks) {
      const link = network.bridge ? this.stack.link(network.bridge) : undefined;
      if (link?.alias === this.mark(network.id)) this.stack.deleteLink(link.index, network.bridge!);
    }
    this.#ready.clear();
    if (this.firewall.isThere) this.firewall.remove();
    this.guard.withdraw();
    const { store, bootId } = this.router;
    if (store.routerSince !== bootId) return;
    writeNetSysctl("ipv4/ip_forward", "0");
    store.routerSince = "";
  }

  close(): void {
    this.#watch.close();
    this.#stack?.close();
    this.firewall.close();
    this.guard.close();
  }

  #enableForwarding(network: NetworkRecord, addresses: NetworkAddresses): void {
    if (network.internal) return;
    const { store, bootId } = this.router;
    if (addresses.subnet(4) && readNetSysctl("ipv4/ip_forward") === "0") {
      store.routerSince = bootId;
      writeNetSysctl("ipv4/ip_forward", "1");
    }
    this.firewall.strangers = store.routerSince === bootId ? "drop" : "accept";
    if (!addresses.subnet(6) || readNetSysctl("ipv6/conf/all/forwarding") === "1") return;
    // A router takes no router advertisements: those that the host lives on are to be taken all the same.
    for (const name of readdirSync("/proc/sys/net/ipv6/conf")) {
      if (readNetSysctl(`ipv6/conf/${name}/accept_ra`) === "1") writeNetSysctl(`ipv6/conf/${name}/accept_ra`, "2");
    }
    writeNetSysctl("ipv6/conf/all/forwarding", "1");
  }
}

/** Where br_netfilter is at work, what a container sends to a published port of its own is bridged back to it. */
function bridgePort(network: NetworkRecord, publishes: boolean): { hairpin: boolean; isolated: boolean } {
  const hairpin = publishes && readNetSysctl("bridge/bridge-nf-call-iptables") === "1";
  return { hairpin, isolated: !isOn(network.options, ICC, true) };
}
