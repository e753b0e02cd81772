import { InroError } from "../../base/errors.ts";
import { unplug } from "../../network/interface.ts";
import { adoptNetworkNamespace, type NetworkNamespace } from "../../network/namespace.ts";
import { bandwidthOf } from "../config/bandwidth.ts";
import type { Container } from "../container.ts";
import { openNamespaceOf } from "../join.ts";
import type { Store } from "../store.ts";
import { endpointConfig } from "./endpoint-settings.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Networks } from "./networks.ts";
import { plugEndpoint } from "./plug-endpoint.ts";
import type { EndpointConfig, NetworkRecord, RunNetwork } from "./records.ts";
import { routesOf } from "./routes.ts";

/** Networks that a container comes into, or leaves, whether it runs or not. */
export class Connections {
  constructor(
    private readonly endpoints: Endpoints,
    private readonly networks: Networks,
    private readonly store: Store,
  ) {}

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
    this.endpoints.check(network, config);
    if (Object.hasOwn(record.endpoints, network.id)) {
      throw new InroError("forbidden", `endpoint with name ${record.name} already exists in network ${network.name}`);
    }
    this.endpoints.egress.check(container, [network.driver]);
    if (container.isRunning) await this.#connectRunning(container, network, config);
    container.record = { ...record, endpoints: { ...record.endpoints, [network.id]: config } };
    this.store.updateContainer(container.record);
    if (container.isRunning) this.endpoints.emit("connect", network.id, container);
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
        this.networks.driver.unprotect(endpoint);
        this.#reroute(namespace, container, left);
      });
      this.endpoints.egress.apply(container, left);
      this.endpoints.retarget(container, left);
      container.state = { ...container.state, network: left };
      this.store.updateState(container.id, container.state);
      this.endpoints.freeAddresses({ endpoints: [endpoint], ports: [] });
    }
    const { [network.id]: _, ...endpoints } = record.endpoints;
    container.record = { ...record, endpoints };
    this.store.updateContainer(container.record);
    if (endpoint) this.endpoints.emit("disconnect", network.id, container);
  }

  async #connectRunning(container: Container, network: NetworkRecord, config: EndpointConfig): Promise<void> {
    const run = container.state.network ?? { endpoints: [], ports: [] };
    const endpoint = this.endpoints.endpoint(network.id, config, run.endpoints);
    const more: RunNetwork = { ...run, endpoints: [...run.endpoints, endpoint] };
    const before = container.record;
    try {
      container.record = { ...before, endpoints: { ...before.endpoints, [network.id]: config } };
      await this.#inside(container, (namespace) => {
        this.endpoints.egress.apply(container, more);
        const bandwidth = bandwidthOf(container.record.host);
        plugEndpoint(this.networks, namespace, bandwidth, more, endpoint, new Map());
        this.#reroute(namespace, container, more);
      });
    } catch (error) {
      this.endpoints.freeAddresses({ endpoints: [endpoint], ports: [] });
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

  /** Default routes as they should be now. */
  #reroute(namespace: NetworkNamespace, { record }: Container, run: RunNetwork): void {
    for (const [family, endpoint] of routesOf(this.networks, record, run)) {
      const network = this.networks.byId(endpoint.network)!;
      const gateway = this.networks.addresses(network).gateway(family)!;
      namespace.stack.setDefaultRoute(endpoint.interface, gateway);
    }
  }
}
