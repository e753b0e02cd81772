import { InroError } from "../../base/errors.ts";
import type { HostConfig, PortBinding } from "../../spec/docker-api.ts";
import type { Container } from "../container.ts";
import type { Store } from "../store.ts";
import type { Networks } from "./networks.ts";
import { portRequests } from "./ports.ts";
import type { PublishedPorts } from "./published.ts";
import type { PortState } from "./records.ts";
import { routesOf, targetOf } from "./routes.ts";

type PortBindings = NonNullable<HostConfig["PortBindings"]>;

/** Ports of a container that come and go while it runs; the next start has them too. The caller holds its mutex. */
export class PortChanges {
  constructor(
    private readonly networks: Networks,
    private readonly store: Store,
    private readonly ports: PublishedPorts,
    private readonly publishAddress: string,
  ) {}

  /** Publishes ports of a container, at once if it runs; all or none. What is added is given as it came to be. */
  add(container: Container, bindings: PortBindings): PortState[] {
    const { record } = container;
    if (!record.endpoints) throw new InroError("conflict", `container ${record.name} has no network of its own`);
    const requests = portRequests({}, { PortBindings: bindings });
    const run = container.state.network;
    let added: PortState[] = [];
    if (run) {
      const target = targetOf(this.networks, record, run, this.publishAddress);
      added = this.ports.reserve(container.id, requests, target);
      try {
        for (const endpoint of routesOf(this.networks, record, run).values()) {
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
  remove(container: Container, bindings: PortBindings): void {
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

  #updateBindings(container: Container, change: (bindings: Record<string, PortBinding[]>) => void): void {
    const { record } = container;
    const bindings: Record<string, PortBinding[]> = {};
    for (const [port, list] of Object.entries(record.host.PortBindings ?? {})) if (list) bindings[port] = [...list];
    change(bindings);
    container.record = { ...record, host: { ...record.host, PortBindings: bindings } };
    this.store.updateContainer(container.record);
  }
}
