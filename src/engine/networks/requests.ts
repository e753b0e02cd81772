import { invalid } from "../../base/errors.ts";
import { formatSubnet } from "../../network/address.ts";
import type { NetworkContainer, NetworkInspect, PortBinding } from "../../spec/docker-api.ts";
import { map, object, record as objectOf } from "../config/fields.ts";
import { portBindings } from "../config/request-fields.ts";
import type { Container } from "../container.ts";
import { type Context, emit } from "../context.ts";
import { labelsMatch } from "../list-filters.ts";
import { writeHosts, writeResolv } from "../managed-files.ts";
import type { Filters } from "../requests.ts";
import type { NetworkRecord, PortState } from "./records.ts";
import { PREDEFINED } from "./validate.ts";

/** Keys of `filters` of the list of networks. */
export const NETWORK_FILTERS = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"] as const;

/** The requests of /networks. */
export class NetworkRequests {
  constructor(private readonly ctx: Context) {}

  list(filters: Filters = new Map()): NetworkInspect[] {
    return this.ctx.networks
      .all()
      .filter((network) => this.#matches(network, filters))
      .map((network) => this.#shown(network));
  }

  inspect(ref: string): NetworkInspect {
    const network = this.ctx.networks.get(ref);
    // The default one gets its subnet when somebody asks.
    const addresses = this.ctx.networks.addresses(network);
    const shown = this.#shown(this.ctx.networks.byId(network.id)!);
    const Subnets = Object.fromEntries(
      [...addresses.usage()].map(([subnet, { used, available }]) => {
        const most = BigInt(Number.MAX_SAFE_INTEGER);
        return [
          formatSubnet(subnet),
          { IPsInUse: used, DynamicIPsAvailable: Number(available < most ? available : most) },
        ];
      }),
    );
    return { ...shown, Containers: this.#containers(network), Status: { IPAM: { Subnets } } };
  }

  create(body: unknown): { Id: string; Warning: string } {
    return this.ctx.networks.create(body);
  }

  remove(ref: string): Promise<void> {
    return this.ctx.networks.remove(ref);
  }

  prune(filters?: Filters): Promise<{ NetworksDeleted: string[] }> {
    return this.ctx.networks.prune(filters);
  }

  /** Body of POST /networks/{id}/connect. */
  async connect(ref: string, body: unknown): Promise<void> {
    const { Container: name, EndpointConfig: settings } = objectOf(body, "the request body");
    const container = this.ctx.table.get(containerRef(name));
    await container.mutex.run(async () => {
      const served = this.ctx.dns.serves(container);
      await this.ctx.endpoints.connections.connect(ref, container, settings);
      if (!container.isRunning) return;
      this.ctx.dns.changed();
      writeHosts(this.ctx, container);
      if (served || !this.ctx.dns.serves(container)) return;
      await this.ctx.dns.open(container);
      writeResolv(this.ctx, container);
    });
  }

  /** Body of POST /networks/{id}/disconnect. */
  async disconnect(ref: string, body: unknown): Promise<void> {
    const { Container: name } = objectOf(body, "the request body");
    const container = this.ctx.table.get(containerRef(name));
    await container.mutex.run(async () => {
      await this.ctx.endpoints.connections.disconnect(ref, container);
      if (!container.isRunning) return;
      this.ctx.dns.changed();
      writeHosts(this.ctx, container);
    });
  }

  /** Body of POST /inro/containers/{id}/ports: port bindings to Add and to Remove, as HostConfig has them. */
  async changePorts(ref: string, body: unknown): Promise<{ Added: PublishedSummary[] }> {
    const { Add = {}, Remove = {} } = portChange(body, "");
    const container = this.ctx.table.get(ref);
    return container.mutex.run(async () => {
      if (Object.keys(Remove).length > 0) this.ctx.endpoints.portChanges.remove(container, Remove);
      const added = Object.keys(Add).length > 0 ? this.ctx.endpoints.portChanges.add(container, Add) : [];
      emit(this.ctx, container, "update");
      return { Added: added.map((port) => summary(container, port)) };
    });
  }

  /** GET /inro/ports: every port of a running container that is reached from elsewhere, and from where. */
  ports(): PublishedSummary[] {
    return this.ctx.table
      .all()
      .flatMap((container) => (container.state.network?.ports ?? []).map((port) => summary(container, port)));
  }

  #shown(network: NetworkRecord): NetworkInspect {
    return {
      Name: network.name,
      Id: network.id,
      Created: network.created,
      Scope: "local",
      Driver: network.driver,
      EnableIPv4: network.ipv4,
      EnableIPv6: network.ipv6,
      IPAM: network.ipam,
      Internal: network.internal,
      Attachable: network.attachable,
      Ingress: false,
      ConfigFrom: { Network: network.configFrom ?? "" },
      ConfigOnly: network.configOnly ?? false,
      Options: network.options,
      Labels: network.labels,
    };
  }

  #containers(network: NetworkRecord): Record<string, NetworkContainer> {
    const addresses = this.ctx.networks.addresses(network);
    const shown = (text: string | undefined) =>
      text ? `${text}/${addresses.interfaceAddress(text).subnet.prefix}` : "";
    return Object.fromEntries(
      this.ctx.networks.users(network.id).map(({ id, record, state }) => {
        const endpoint = state.network!.endpoints.find((one) => one.network === network.id)!;
        const one: NetworkContainer = {
          Name: record.name,
          EndpointID: endpoint.id,
          MacAddress: endpoint.mac,
          IPv4Address: shown(endpoint.ipv4),
          IPv6Address: shown(endpoint.ipv6),
        };
        return [id, one];
      }),
    );
  }

  #matches(network: NetworkRecord, filters: Filters): boolean {
    const builtin = Object.hasOwn(PREDEFINED, network.name);
    const some = (key: string, test: (value: string) => boolean) => {
      const values = filters.get(key);
      return !values?.length || values.some(test);
    };
    return (
      some("name", (value) => network.name.includes(value)) &&
      some("id", (value) => network.id.startsWith(value)) &&
      some("driver", (value) => network.driver === value) &&
      some("scope", (value) => value === "local") &&
      some("type", (value) => {
        if (value !== "builtin" && value !== "custom") throw invalid(`invalid filter: 'type'='${value.slice(0, 64)}'`);
        return builtin === (value === "builtin");
      }) &&
      some("dangling", (value) => {
        if (!/^(1|0|true|false)$/i.test(value)) throw invalid(`invalid filter 'dangling=${value.slice(0, 64)}'`);
        const dangling = !builtin && this.ctx.networks.users(network.id).length === 0;
        return dangling === /^(1|true)$/i.test(value);
      }) &&
      labelsMatch(network.labels, filters)
    );
  }
}

function containerRef(name: unknown): string {
  if (typeof name !== "string" || name === "") throw invalid("the request names no container");
  return name;
}

const portChange = object<{
  Add?: Record<string, PortBinding[] | null>;
  Remove?: Record<string, PortBinding[] | null>;
}>({
  Add: map(portBindings),
  Remove: map(portBindings),
});

/** Who can reach a port: the whole world, this machine, or who reaches an address of it. */
export interface PublishedSummary {
  Container: string;
  Id: string;
  Port: number;
  Protocol: string;
  HostAddress: string;
  /** 0: the container's own address is reached. */
  HostPort: number;
  From: string;
}

function summary({ id, record }: Container, { port, protocol, hostAddress, hostPort }: PortState): PublishedSummary {
  const local = hostAddress.startsWith("127.") || hostAddress === "::1";
  const any = hostAddress === "0.0.0.0" || hostAddress === "::";
  return {
    Container: record.name,
    Id: id,
    Port: port,
    Protocol: protocol,
    HostAddress: hostAddress,
    HostPort: hostPort,
    From: any ? "anywhere" : local ? "this machine" : `who reaches ${hostAddress}`,
  };
}
