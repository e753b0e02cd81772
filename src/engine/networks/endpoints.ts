import { randomBytes } from "node:crypto";
import { newId } from "../../base/digest.ts";
import { InroError, messageOf } from "../../base/errors.ts";
import { formatAddress, type IpFamily, parseAddress } from "../../network/address.ts";
import { randomMac } from "../../network/bridge.ts";
import type { InterfaceSpec } from "../../network/interface.ts";
import { plug, unplug } from "../../network/interface.ts";
import { adoptNetworkNamespace, createNetworkNamespace, type NetworkNamespace } from "../../network/namespace.ts";
import type { HostConfig, PortBinding } from "../../spec/docker-api.ts";
import type { Container } from "../container.ts";
import type { EventLog } from "../events.ts";
import { openNamespaceOf } from "../join.ts";
import type { Store } from "../store.ts";
import type { ContainerTable } from "../table.ts";
import { endpointConfig, IFNAME_OPTION } from "./endpoint-settings.ts";
import type { Networks } from "./networks.ts";
import { portRequests } from "./ports.ts";
import { PublishedPorts, type Target } from "./published.ts";
import type { EndpointConfig, EndpointState, NetworkRecord, PortState, RunNetwork } from "./records.ts";
import { gatewayMode, HOST_BINDING, mtuOf, PREFIX } from "./validate.ts";

type PortBindings = NonNullable<HostConfig["PortBindings"]>;

const DEPARTURE_MS = 5;
const LONGEST_DEPARTURE_MS = 5000;
const MOST_DEPARTING = 10_000;

const FAMILIES: readonly IpFamily[] = [4, 6];

/** The places of containers in networks: what a run has is reserved first, then recorded, then made. */
export class Endpoints {
  readonly ports: PublishedPorts;
  /** Interfaces that go with their namespaces: the kernel is at it. */
  readonly #departing = new Set<string>();
  /** Containers of whose networks the world was told. */
  readonly #announced = new Set<string>();

  constructor(
    private readonly networks: Networks,
    private readonly store: Store,
    private readonly table: ContainerTable,
    private readonly events: EventLog,
    /** Of ports that name no address. A firewall's INPUT rules do not see what is sent on to a container, so: nobody's but ours. */
    private readonly publishAddress: string,
    private readonly log: (line: string) => void,
  ) {
    this.ports = new PublishedPorts(networks.driver.firewall, (id) =>
      table.has(id) ? table.get(id).record.name : id.slice(0, 12),
    );
  }

  /** The networks of a new container by id, checked: they exist, and have the addresses that are asked for. */
  plan(requested: ReadonlyMap<string, EndpointConfig>): Record<string, EndpointConfig> {
    const planned: Record<string, EndpointConfig> = {};
    for (const [ref, config] of requested) {
      const network = this.networks.get(ref);
      this.#check(network, config);
      if (Object.hasOwn(planned, network.id)) throw new InroError("invalid", `network ${network.name} is given twice`);
      planned[network.id] = config;
    }
    return planned;
  }

  /** Addresses, names and ports for a run; undefined for a container without networks of its own. All or none. */
  reserve(container: Container): RunNetwork | undefined {
    const { endpoints: wanted, config, host } = container.record;
    if (!wanted || Object.keys(wanted).length === 0) return wanted ? { endpoints: [], ports: [] } : undefined;
    this.checkLinks(container);
    const run: RunNetwork = { endpoints: [], ports: [] };
    try {
      for (const [id, asked] of Object.entries(wanted)) run.endpoints.push(this.#endpoint(id, asked, run.endpoints));
      const requests = portRequests(config, host);
      const target = requests.length > 0 ? this.#target(container, run) : undefined;
      if (target) run.ports = this.ports.reserve(container.id, requests, target);
      return run;
    } catch (error) {
      this.#freeAddresses(run);
      throw error;
    }
  }

  /**
   * The network namespace of a run, wired up; the caller closes it when the container's process is in it. `given` is one
   * that its user namespace owns. Where it fails nothing is left.
   */
  wire(container: Container, given?: number): NetworkNamespace {
    const run = container.state.network!;
    const namespace = given === undefined ? createNetworkNamespace() : adoptNetworkNamespace(given);
    try {
      const routes = this.#routes(container, run);
      for (const endpoint of run.endpoints) this.#plug(namespace, run, endpoint, routes);
      const target = run.ports.length > 0 ? this.#target(container, run) : undefined;
      if (target) this.ports.open(container.id, run.ports, target);
      return namespace;
    } catch (error) {
      namespace.close();
      throw error;
    }
  }

  /** After a run, or one that was not to be. Interfaces go with their namespace, which nobody has to wait for. */
  release(container: Container, run: RunNetwork): void {
    this.ports.release(container.id);
    this.#freeAddresses(run);
    if (this.#departing.size > MOST_DEPARTING) this.#departing.clear();
    for (const { hostInterface } of run.endpoints) if (hostInterface) this.#departing.add(hostInterface);
    if (!this.#announced.delete(container.id)) return;
    for (const { network } of run.endpoints) this.#emit("disconnect", network, container);
  }

  /** Tells the world, once the container runs. */
  announce(container: Container): void {
    if (!container.state.network) return;
    this.#announced.add(container.id);
    for (const { network } of container.state.network.endpoints) this.#emit("connect", network, container);
  }

  /** What a running container has is its own again, after a restart of the engine. */
  adopt(container: Container): void {
    const run = container.state.network;
    if (!run) return;
    this.#announced.add(container.id);
    for (const { network: id, ipv4, ipv6 } of run.endpoints) {
      const network = this.networks.byId(id);
      if (!network) continue;
      const addresses = this.networks.addresses(network);
      for (const address of [ipv4, ipv6]) if (address) addresses.retake(address);
    }
    this.ports.adopt(container.id, run.ports, this.log);
  }

  /** Makes bridges and firewall what the running containers need; what an earlier engine has left goes. */
  restore(): void {
    const { driver } = this.networks;
    if (this.networks.known.length === 0) return;
    try {
      const running = this.table.all().filter(({ state }) => state.network !== undefined);
      if (running.length === 0) {
        if (driver.firewall.isThere) driver.firewall.remove();
        return;
      }
      this.reattach();
      for (const container of running) {
        const run = container.state.network!;
        const target = run.ports.length > 0 ? this.#target(container, run) : undefined;
        if (target) this.ports.open(container.id, run.ports, target);
      }
      driver.firewall.build(true);
    } catch (error) {
      this.log(`networks: ${messageOf(error)}`);
    }
  }

  /** By which address a container reaches the host: the gateway of its default route. */
  hostGateway(container: Container): string | undefined {
    const run = container.state.network;
    const endpoint = run && this.#routes(container, run).get(4);
    const network = endpoint && this.networks.byId(endpoint.network);
    const gateway = network && this.networks.addresses(network).gateway(4);
    return gateway && formatAddress(gateway);
  }

  /** Links (docker's old way of names, on the default network): each running container that is named, and its names. */
  links(container: Container): { address: string; names: string[] }[] {
    const { host, endpoints = {} } = container.record;
    const inNetworks = Object.values(endpoints).flatMap(({ links = [] }) => links);
    return [...(host.Links ?? []), ...inNetworks].flatMap((link) => {
      const [ref = "", alias = ref] = link.split(":");
      const other = this.#linked(ref);
      if (!other) return [];
      const mine = new Set(container.state.network?.endpoints.map(({ network }) => network));
      const endpoint = other.state.network?.endpoints.find(({ network }) => mine.has(network));
      const { name, id, config } = other.record;
      const names = [...new Set([alias.replace(/^\//, ""), config.Hostname || id.slice(0, 12), name])];
      return endpoint?.ipv4 ? [{ address: endpoint.ipv4, names }] : [];
    });
  }

  /** In a network that somebody made, a link may name a container that is yet to come. */
  #linked(ref: string): Container | undefined {
    try {
      return this.table.get(ref);
    } catch (error) {
      if (error instanceof InroError && error.kind === "notFound") return undefined;
      throw error;
    }
  }

  /** Links of the container must name running containers: notFound, conflict. */
  checkLinks(container: Container): void {
    for (const link of container.record.host.Links ?? []) {
      const [ref = ""] = link.split(":");
      const other = this.table.get(ref);
      if (!other.isRunning) {
        throw new InroError("conflict", `cannot link to a non running container: /${other.record.name}`);
      }
    }
  }

  /** Makes the interfaces of running containers ports of their bridges, which are made if they are not there. */
  reattach(): void {
    const { driver } = this.networks;
    for (const { state } of this.table.all()) {
      for (const { network: id, hostInterface } of state.network?.endpoints ?? []) {
        const network = this.networks.byId(id);
        if (network?.driver !== "bridge" || !hostInterface) continue;
        driver.addPorts(driver.ensure(network, this.networks.addresses(network)), [hostInterface]);
      }
    }
  }

  /** Resolves when the kernel has taken apart what ended containers have left. */
  async settled(): Promise<void> {
    const end = Date.now() + LONGEST_DEPARTURE_MS;
    while (this.#departing.size > 0 && Date.now() < end) {
      const names = new Set(this.networks.driver.stack.links().map(({ name }) => name));
      for (const name of this.#departing) if (!names.has(name)) this.#departing.delete(name);
      if (this.#departing.size > 0) await new Promise((resolve) => setTimeout(resolve, DEPARTURE_MS));
    }
    this.#departing.clear();
  }

  /** POST /networks/{id}/connect; the caller holds the container's mutex. */
  async connect(ref: string, container: Container, settings: unknown): Promise<void> {
    const network = this.networks.get(ref);
    const { record } = container;
    if (record.endpoints === undefined) {
      const mode = record.host.NetworkMode ?? "none";
      const why =
        mode === "host"
          ? "container cannot be connected to network endpoints: it shares the host's network"
          : mode === "none"
            ? "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            : "container sharing network namespace with another container or host cannot be connected to any other network";
      throw new InroError(mode === "none" ? "invalid" : "forbidden", why);
    }
    const config = endpointConfig(settings, "EndpointConfig");
    this.#check(network, config);
    if (Object.hasOwn(record.endpoints, network.id)) {
      throw new InroError("forbidden", `endpoint with name ${record.name} already exists in network ${network.name}`);
    }
    if (container.isRunning) await this.#connectRunning(container, network, config);
    container.record = { ...record, endpoints: { ...record.endpoints, [network.id]: config } };
    this.store.updateContainer(container.record);
    if (container.isRunning) this.#emit("connect", network.id, container);
  }

  /** POST /networks/{id}/disconnect; as {@link connect}. */
  async disconnect(ref: string, container: Container): Promise<void> {
    const network = this.networks.get(ref);
    const { record } = container;
    if (record.endpoints === undefined || !Object.hasOwn(record.endpoints, network.id)) {
      throw new InroError("forbidden", `container ${record.name} is not connected to network ${network.name}`);
    }
    const run = container.state.network;
    const endpoint = run?.endpoints.find(({ network: id }) => id === network.id);
    if (run && endpoint && container.running) {
      const left: RunNetwork = { ...run, endpoints: run.endpoints.filter((one) => one !== endpoint) };
      await this.#inside(container, async (namespace) => {
        await unplug(namespace, endpoint.interface);
        this.#reroute(namespace, container, left);
      });
      this.#retarget(container, left);
      container.state = { ...container.state, network: left };
      this.store.updateState(container.id, container.state);
      this.#freeAddresses({ endpoints: [endpoint], ports: [] });
    }
    const { [network.id]: _, ...endpoints } = record.endpoints;
    container.record = { ...record, endpoints };
    this.store.updateContainer(container.record);
    if (endpoint) this.#emit("disconnect", network.id, container);
  }

  /** Publishes ports of a container, at once if it runs; all or none. What is added is given as it came to be. */
  publish(container: Container, bindings: PortBindings): PortState[] {
    const { record } = container;
    if (!record.endpoints) throw new InroError("conflict", `container ${record.name} has no network of its own`);
    const requests = portRequests({}, { PortBindings: bindings });
    const run = container.state.network;
    let added: PortState[] = [];
    if (run) {
      const target = this.#target(container, run);
      added = this.ports.reserve(container.id, requests, target);
      try {
        for (const endpoint of this.#routes(container, run).values()) {
          const network = this.networks.byId(endpoint.network);
          if (network && run.ports.length === 0) this.networks.driver.publishes(network, endpoint);
        }
        this.ports.open(container.id, added, target);
      } catch (error) {
        this.ports.release(container.id, added);
        throw error;
      }
      container.state = { ...container.state, network: { ...run, ports: [...run.ports, ...added] } };
      this.store.updateState(container.id, container.state);
    }
    this.#updateBindings(container, (all) => {
      for (const [port, more] of Object.entries(bindings)) all[port] = [...(all[port] ?? []), ...(more ?? [])];
    });
    return added;
  }

  /** Takes published ports back; ones that are not there are notFound. */
  unpublish(container: Container, bindings: PortBindings): void {
    const run = container.state.network;
    const unwanted = portRequests({}, { PortBindings: bindings });
    const matches = (port: PortState) =>
      unwanted.some(
        ({ protocol, port: number, hostAddress, hostPorts }) =>
          protocol === port.protocol &&
          number === port.port &&
          (hostAddress === "" || hostAddress === port.hostAddress) &&
          (!hostPorts || (port.hostPort >= hostPorts[0] && port.hostPort <= hostPorts[1])),
      );
    const gone = run?.ports.filter(matches) ?? [];
    if (run && gone.length === 0) {
      throw new InroError("notFound", `container ${container.record.name} publishes no such port`);
    }
    if (run) {
      this.ports.release(container.id, gone);
      container.state = {
        ...container.state,
        network: { ...run, ports: run.ports.filter((port) => !gone.includes(port)) },
      };
      this.store.updateState(container.id, container.state);
    }
    this.#updateBindings(container, (all) => {
      for (const { protocol, port, hostAddress, hostPorts } of unwanted) {
        const key = `${port}/${protocol}`;
        const left = (all[key] ?? []).filter(({ HostIp = "", HostPort = "" }) => {
          const sameAddress = hostAddress === "" || HostIp === hostAddress;
          return !(sameAddress && (!hostPorts || HostPort === "" || HostPort === String(hostPorts[0])));
        });
        if (left.length > 0) all[key] = left;
        else delete all[key];
      }
    });
  }

  /** Lets go of everything; where no container runs, the machine is as it was before. */
  close(): void {
    const { driver } = this.networks;
    try {
      if (this.table.all().every(({ state }) => state.network === undefined)) driver.withdraw(this.networks.known);
      for (const container of this.table.all()) this.ports.letGo(container.id);
    } catch (error) {
      this.log(`networks: ${messageOf(error)}`);
    }
    driver.close();
  }

  #updateBindings(container: Container, change: (bindings: Record<string, PortBinding[]>) => void): void {
    const { record } = container;
    const bindings: Record<string, PortBinding[]> = {};
    for (const [port, list] of Object.entries(record.host.PortBindings ?? {})) if (list) bindings[port] = [...list];
    change(bindings);
    container.record = { ...record, host: { ...record.host, PortBindings: bindings } };
    this.store.updateContainer(container.record);
  }

  async #connectRunning(container: Container, network: NetworkRecord, config: EndpointConfig): Promise<void> {
    const run = container.state.network ?? { endpoints: [], ports: [] };
    const endpoint = this.#endpoint(network.id, config, run.endpoints);
    const more: RunNetwork = { ...run, endpoints: [...run.endpoints, endpoint] };
    const before = container.record;
    try {
      container.record = { ...before, endpoints: { ...before.endpoints, [network.id]: config } };
      await this.#inside(container, (namespace) => {
        this.#plug(namespace, more, endpoint, new Map());
        this.#reroute(namespace, container, more);
      });
    } catch (error) {
      this.#freeAddresses({ endpoints: [endpoint], ports: [] });
      throw error;
    } finally {
      container.record = before;
    }
    container.state = { ...container.state, network: more };
    this.store.updateState(container.id, container.state);
  }

  async #inside(container: Container, body: (namespace: NetworkNamespace) => unknown): Promise<void> {
    const fd = container.running && openNamespaceOf(container.running, "network");
    if (fd === undefined) throw new InroError("conflict", `container ${container.id} is not running`);
    const namespace = adoptNetworkNamespace(fd);
    try {
      await body(namespace);
    } finally {
      namespace.close();
    }
  }

  #check(network: NetworkRecord, config: EndpointConfig): void {
    const { name, driver } = network;
    if (network.configOnly) {
      throw new InroError("forbidden", `cannot connect container to network ${name}: it is a configuration network`);
    }
    if (driver === "host" || driver === "null") {
      throw new InroError("invalid", `container cannot be connected to network ${name} beside others`);
    }
    if (name === "bridge" && config.aliases?.length) {
      throw new InroError("invalid", "network-scoped aliases are only supported for user-defined networks");
    }
    const addresses = this.networks.addresses(network);
    for (const address of [config.ipv4, config.ipv6]) if (address) addresses.check(address);
  }

  #endpoint(id: string, asked: EndpointConfig, others: readonly EndpointState[]): EndpointState {
    const network = this.networks.byId(id);
    if (!network) throw new InroError("notFound", `network ${id} not found`);
    const addresses = this.networks.addresses(network);
    const owner = (address: string) => this.#ownerOf(id, address);
    const ipv4 = addresses.take(4, asked.ipv4, owner);
    let ipv6: string | undefined;
    try {
      ipv6 = addresses.take(6, asked.ipv6, owner);
    } catch (error) {
      if (ipv4) addresses.free(ipv4);
      throw error;
    }
    return {
      id: newId(),
      network: id,
      interface: interfaceName(network, asked, others),
      ...(network.driver === "bridge" ? { hostInterface: `veth${randomBytes(4).toString("hex")}` } : {}),
      mac: asked.mac ?? macOf(ipv4),
      ...(ipv4 ? { ipv4 } : {}),
      ...(ipv6 ? { ipv6 } : {}),
    };
  }

  #ownerOf(network: string, address: string): string | undefined {
    const owner = this.networks
      .users(network)
      .find(({ state }) => state.network?.endpoints.some(({ ipv4, ipv6 }) => ipv4 === address || ipv6 === address));
    return owner && `container ${owner.record.name}`;
  }

  #plug(
    namespace: NetworkNamespace,
    run: RunNetwork,
    endpoint: EndpointState,
    routes: ReadonlyMap<IpFamily, EndpointState>,
  ): void {
    const network = this.networks.byId(endpoint.network)!;
    const addresses = this.networks.addresses(network);
    const { driver } = this.networks;
    const attachment = driver.attachment(network, addresses, endpoint, { publishes: run.ports.length > 0 });
    const mtu = mtuOf(network);
    const spec: InterfaceSpec = {
      name: endpoint.interface,
      attachment,
      // An ipvlan has its parent's.
      ...(attachment.kind === "ipvlan" ? {} : { mac: Buffer.from(endpoint.mac.replaceAll(":", ""), "hex") }),
      ...(mtu === undefined ? {} : { mtu }),
      addresses: [endpoint.ipv4, endpoint.ipv6].flatMap((text) => (text ? [addresses.interfaceAddress(text)] : [])),
      gateways: FAMILIES.flatMap((family) => (routes.get(family) === endpoint ? [addresses.gateway(family)!] : [])),
    };
    plug(driver.stack, namespace, spec);
  }

  /** By family: the endpoint that the default route goes by. Highest priority, then the network's name. */
  #routes({ record }: Pick<Container, "record">, run: RunNetwork): Map<IpFamily, EndpointState> {
    const priority = ({ network }: EndpointState) => record.endpoints?.[network]?.gwPriority ?? 0;
    const nameOf = ({ network }: EndpointState) => this.networks.byId(network)?.name ?? "";
    const sorted = run.endpoints.toSorted(
      (a, b) => priority(b) - priority(a) || (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0),
    );
    const routes = new Map<IpFamily, EndpointState>();
    for (const family of FAMILIES) {
      const way = sorted.find((endpoint) => {
        const network = this.networks.byId(endpoint.network);
        if (!network || network.internal || !(family === 4 ? endpoint.ipv4 : endpoint.ipv6)) return false;
        return this.networks.addresses(network).gateway(family) !== undefined;
      });
      if (way) routes.set(family, way);
    }
    return routes;
  }

  /** Default routes as they should be now. */
  #reroute(namespace: NetworkNamespace, container: Container, run: RunNetwork): void {
    for (const [family, endpoint] of this.#routes(container, run)) {
      const network = this.networks.byId(endpoint.network)!;
      const gateway = this.networks.addresses(network).gateway(family)!;
      namespace.stack.setDefaultRoute(endpoint.interface, gateway);
    }
  }

  /** Where published ports lead to: the container's address in the network of its default route. */
  #target(container: Container, run: RunNetwork): Target {
    const routes = this.#routes(container, run);
    const target: Target = { routed: { 4: false, 6: false }, defaultAddress: this.publishAddress };
    for (const family of FAMILIES) {
      const endpoint = routes.get(family);
      const network = endpoint && this.networks.byId(endpoint.network);
      if (!endpoint || network?.driver !== "bridge") continue;
      const address = family === 4 ? endpoint.ipv4 : endpoint.ipv6;
      if (address) target[family === 4 ? "ipv4" : "ipv6"] = address;
      target.routed[family] = gatewayMode(network, family) === "routed";
      if (family === 4 && network.options[HOST_BINDING]) target.defaultAddress = network.options[HOST_BINDING];
    }
    return target;
  }

  /** Ports follow the container's way to the outside. */
  #retarget(container: Container, run: RunNetwork): void {
    if (run.ports.length === 0) return;
    const target = this.#target(container, run);
    this.ports.release(container.id);
    this.ports.adopt(container.id, run.ports, this.log);
    this.ports.open(container.id, run.ports, target);
  }

  #freeAddresses(run: RunNetwork): void {
    for (const { network: id, ipv4, ipv6 } of run.endpoints) {
      const network = this.networks.byId(id);
      if (!network) continue;
      const addresses = this.networks.addresses(network);
      for (const address of [ipv4, ipv6]) if (address) addresses.free(address);
    }
  }

  #emit(action: string, id: string, container: Container): void {
    const network = this.networks.byId(id);
    if (!network) return;
    this.events.emit("network", action, id, { container: container.id, name: network.name, type: network.driver });
  }
}

/** `eth0`, or what the endpoint or the network says. Throws invalid when somebody has it. */
function interfaceName(network: NetworkRecord, asked: EndpointConfig, others: readonly EndpointState[]): string {
  const taken = new Set(others.map((endpoint) => endpoint.interface));
  const wanted = asked.driverOpts?.[IFNAME_OPTION];
  if (wanted !== undefined) {
    if (taken.has(wanted) || wanted === "lo") throw new InroError("invalid", `interface name ${wanted} is taken`);
    return wanted;
  }
  const prefix = network.options[PREFIX] ?? "eth";
  for (let n = 0; ; n++) if (!taken.has(`${prefix}${n}`)) return `${prefix}${n}`;
}

/** From the IPv4 address, so that what neighbours remember of an address stays true whoever has it next. */
function macOf(ipv4: string | undefined): string {
  const address = ipv4 ? parseAddress(ipv4) : undefined;
  const bytes = address ? Buffer.from([0x02, 0x42, ...formatAddress(address).split(".").map(Number)]) : randomMac();
  return bytes.toString("hex").replace(/..(?!$)/g, "$&:");
}
