import { randomBytes } from "node:crypto";
import { newId } from "../../base/digest.ts";
import { InroError, messageOf } from "../../base/errors.ts";
import { formatAddress, type IpFamily } from "../../network/address.ts";
import { adoptNetworkNamespace, type NetworkNamespace } from "../../network/namespace.ts";
import { NextNamespace } from "../../network/next-namespace.ts";
import { bandwidthOf } from "../config/bandwidth.ts";
import type { Container } from "../container.ts";
import type { EventLog } from "../events.ts";
import type { Store } from "../store.ts";
import type { ContainerTable } from "../table.ts";
import { Connections } from "./connections.ts";
import { Departures } from "./departures.ts";
import { EgressControl } from "./egress.ts";
import { interfaceName, macOf } from "./endpoint-names.ts";
import { checkLinks, linkedNames } from "./links.ts";
import type { Networks } from "./networks.ts";
import { plugEndpoint } from "./plug-endpoint.ts";
import { PortChanges } from "./port-changes.ts";
import { portRequests } from "./ports.ts";
import { PublishedPorts, type Target } from "./published.ts";
import type { EndpointConfig, EndpointState, NetworkRecord, RunNetwork } from "./records.ts";
import { routesOf, targetOf } from "./routes.ts";

/** The places of containers in networks: what a run has is reserved first, then recorded, then made. */
export class Endpoints {
  readonly ports: PublishedPorts;
  readonly portChanges: PortChanges;
  readonly egress: EgressControl;
  readonly next = new NextNamespace();
  readonly departures = new Departures();
  readonly connections: Connections;
  /** Containers of whose networks the world was told. */
  readonly #announced = new Set<string>();

  constructor(
    private readonly networks: Networks,
    store: Store,
    private readonly table: ContainerTable,
    private readonly events: EventLog,
    /** Of ports that name no address. A firewall's INPUT rules do not see what is sent on to a container, so: nobody's but ours. */
    private readonly publishAddress: string,
    private readonly log: (line: string) => void,
  ) {
    this.egress = new EgressControl(networks.driver, table, events, log);
    const nameOf = (id: string) => (table.has(id) ? table.get(id).record.name : id.slice(0, 12));
    this.ports = new PublishedPorts(networks.driver.firewall, nameOf, log);
    this.portChanges = new PortChanges(networks, store, this.ports, publishAddress);
    this.connections = new Connections(this, networks, store);
  }

  /** The networks of a new container by id, checked: they exist, and have the addresses that are asked for. */
  plan(requested: ReadonlyMap<string, EndpointConfig>): Record<string, EndpointConfig> {
    const planned: Record<string, EndpointConfig> = {};
    for (const [ref, config] of requested) {
      const network = this.networks.get(ref);
      this.check(network, config);
      if (Object.hasOwn(planned, network.id)) throw new InroError("invalid", `network ${network.name} is given twice`);
      planned[network.id] = config;
    }
    return planned;
  }

  /** Addresses, names and ports for a run; undefined for a container without networks of its own. All or none. */
  reserve(container: Container): RunNetwork | undefined {
    const { endpoints: wanted, config, host } = container.record;
    if (!wanted || Object.keys(wanted).length === 0) return wanted ? { endpoints: [], ports: [] } : undefined;
    checkLinks(this.table, container);
    this.egress.check(
      container,
      Object.keys(wanted).map((id) => this.networks.byId(id)?.driver ?? "bridge"),
    );
    const run: RunNetwork = { endpoints: [], ports: [] };
    try {
      for (const [id, asked] of Object.entries(wanted)) run.endpoints.push(this.endpoint(id, asked, run.endpoints));
      const requests = portRequests(config, host);
      const target = requests.length > 0 ? this.#target(container, run) : undefined;
      if (target) run.ports = this.ports.reserve(container.id, requests, target);
      return run;
    } catch (error) {
      this.freeAddresses(run);
      throw error;
    }
  }

  /**
   * The network namespace of a run, wired up; the caller closes it when the container's process is in it. `given` is one
   * that its user namespace owns. Where it fails nothing is left.
   */
  wire(container: Container, given?: number): NetworkNamespace {
    const run = container.state.network!;
    const namespace = given === undefined ? this.next.take() : adoptNetworkNamespace(given);
    try {
      const routes = this.#routes(container, run);
      this.egress.apply(container, run);
      for (const endpoint of run.endpoints)
        plugEndpoint(this.networks, namespace, bandwidthOf(container.record.host), run, endpoint, routes);
      const target = run.ports.length > 0 ? this.#target(container, run) : undefined;
      if (target) this.ports.open(container.id, run.ports, target);
      return namespace;
    } catch (error) {
      namespace.close();
      throw error;
    }
  }

  /** A network namespace in a network, for who is no container: a step of a build. The caller releases it. */
  guest(ref: string): { namespace: NetworkNamespace; run: RunNetwork; gateway: string | undefined; release(): void } {
    const network = this.networks.get(ref);
    const run: RunNetwork = { endpoints: [this.endpoint(network.id, {}, [])], ports: [] };
    const namespace = this.next.take();
    const release = () => {
      namespace.close();
      for (const endpoint of run.endpoints) {
        this.networks.driver.unprotect(endpoint);
        if (endpoint.hostInterface) this.departures.add(endpoint.hostInterface);
      }
      this.freeAddresses(run);
    };
    try {
      const routes = routesOf(this.networks, {}, run);
      for (const endpoint of run.endpoints) plugEndpoint(this.networks, namespace, {}, run, endpoint, routes);
    } catch (error) {
      release();
      throw error;
    }
    const gateway = this.networks.addresses(network).gateway(4);
    return { namespace, run, gateway: gateway && formatAddress(gateway), release };
  }

  /** After a run, or one that was not to be. Interfaces go with their namespace, which nobody has to wait for. */
  release(container: Container, run: RunNetwork): void {
    this.ports.release(container.id);
    this.egress.release(container.id);
    this.freeAddresses(run);
    for (const endpoint of run.endpoints) {
      this.networks.driver.unprotect(endpoint);
      if (endpoint.hostInterface) this.departures.add(endpoint.hostInterface);
    }
    if (!this.#announced.delete(container.id)) return;
    for (const { network } of run.endpoints) this.emit("disconnect", network, container);
  }

  /** Tells the world, once the container runs. */
  announce(container: Container): void {
    if (!container.state.network) return;
    this.#announced.add(container.id);
    for (const { network } of container.state.network.endpoints) this.emit("connect", network, container);
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
    this.ports.adopt(
      container.id,
      run.ports,
      run.ports.length > 0 ? this.#target(container, run) : undefined,
      this.log,
    );
  }

  /** Makes bridges and firewall what the running containers need; what an earlier engine has left goes. */
  restore(): void {
    const { driver } = this.networks;
    if (this.networks.known.length === 0) return;
    try {
      const running = this.table.all().filter(({ state }) => state.network !== undefined);
      if (running.length === 0) {
        if (driver.firewall.isThere) driver.firewall.remove();
        driver.guard.withdraw();
        return;
      }
      this.reattach();
      for (const container of running) {
        const run = container.state.network!;
        this.egress.adopt(container, run);
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

  /** As {@link linkedNames}. */
  links(container: Container): { address: string; names: string[] }[] {
    return linkedNames(this.table, container);
  }

  /** Makes the interfaces of running containers ports of their bridges, which are made if they are not there. */
  reattach(): void {
    const { driver } = this.networks;
    for (const { record, state } of this.table.all()) {
      for (const endpoint of state.network?.endpoints ?? []) {
        const { network: id, hostInterface } = endpoint;
        const network = this.networks.byId(id);
        if (network?.driver !== "bridge" || !hostInterface) continue;
        driver.addPorts(driver.ensure(network, this.networks.addresses(network)), [hostInterface]);
        driver.protect(network, endpoint, bandwidthOf(record.host).egress);
      }
    }
  }

  /** Resolves when the kernel has taken apart what ended containers have left. */
  settled(): Promise<void> {
    return this.departures.settled(this.networks.driver.stack);
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
    this.next.close();
    this.ports.close();
    this.egress.close();
    driver.close();
  }

  /** Throws where a network has no place for who asks for this. */
  check(network: NetworkRecord, config: EndpointConfig): void {
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

  /** A new place in a network, its addresses taken. */
  endpoint(id: string, asked: EndpointConfig, others: readonly EndpointState[]): EndpointState {
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

  #routes({ record }: Pick<Container, "record">, run: RunNetwork): Map<IpFamily, EndpointState> {
    return routesOf(this.networks, record, run);
  }

  #target({ record }: Container, run: RunNetwork): Target {
    return targetOf(this.networks, record, run, this.publishAddress);
  }

  /** Ports follow the container's way to the outside. */
  retarget(container: Container, run: RunNetwork): void {
    if (run.ports.length === 0) return;
    const target = this.#target(container, run);
    this.ports.release(container.id);
    this.ports.adopt(container.id, run.ports, undefined, this.log);
    this.ports.open(container.id, run.ports, target);
  }

  freeAddresses(run: RunNetwork): void {
    for (const { network: id, ipv4, ipv6 } of run.endpoints) {
      const network = this.networks.byId(id);
      if (!network) continue;
      const addresses = this.networks.addresses(network);
      for (const address of [ipv4, ipv6]) if (address) addresses.free(address);
    }
  }

  /** Tells the world of a container's network. */
  emit(action: string, id: string, container: Container): void {
    const network = this.networks.byId(id);
    if (!network) return;
    this.events.emit("network", action, id, { container: container.id, name: network.name, type: network.driver });
  }
}
