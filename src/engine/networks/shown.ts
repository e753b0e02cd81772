import { formatAddress, parseAddress } from "../../network/address.ts";
import type { EndpointSettings, PortBinding, PortSummary } from "../../spec/docker-api.ts";
import type { Container } from "../container.ts";
import type { Context } from "../context.ts";
import type { NetworkAddresses } from "./addresses.ts";
import { exposedPorts } from "./ports.ts";
import type { EndpointConfig, EndpointState, NetworkRecord } from "./records.ts";

/** A container's networks and ports, as the API shows them. */

const NOTHING = {
  Gateway: "",
  IPAddress: "",
  IPPrefixLen: 0,
  IPv6Gateway: "",
  GlobalIPv6Address: "",
  GlobalIPv6PrefixLen: 0,
} as const;

/** NetworkSettings.Networks, by name. */
export function shownNetworks(ctx: Context, container: Container): Record<string, EndpointSettings> {
  const { record, state } = container;
  const mode = record.host.NetworkMode ?? "none";
  if (!record.endpoints) {
    if (mode.startsWith("container:")) return {};
    const network =
      mode === "none" || mode === "host" ? ctx.networks.known.find(({ name }) => name === mode) : undefined;
    return {
      [mode]: {
        IPAMConfig: null,
        Links: null,
        Aliases: null,
        MacAddress: "",
        NetworkID: network?.id ?? "",
        EndpointID: "",
        ...NOTHING,
      },
    };
  }
  const shown: Record<string, EndpointSettings> = {};
  for (const [id, config] of Object.entries(record.endpoints)) {
    const network = ctx.networks.byId(id);
    const endpoint = state.network?.endpoints.find((one) => one.network === id);
    // The one that its mode names is found under that very name.
    const name = network?.name ?? mode;
    shown[name] = endpointSettings(
      container,
      config,
      network,
      endpoint,
      network && endpoint ? ctx.networks.addresses(network) : undefined,
    );
  }
  return shown;
}

function endpointSettings(
  { record }: Container,
  config: EndpointConfig,
  network: NetworkRecord | undefined,
  endpoint: EndpointState | undefined,
  addresses: NetworkAddresses | undefined,
): EndpointSettings {
  const asked = config.ipv4 || config.ipv6 || config.linkLocal;
  const names =
    network && network.name !== "bridge" ? [record.name, ...(config.aliases ?? []), record.id.slice(0, 12)] : null;
  const place = (family: 4 | 6, text: string | undefined) => {
    if (!text || !addresses || !parseAddress(text)) return undefined;
    const gateway = network?.internal ? undefined : addresses.gateway(family);
    return {
      address: text,
      prefix: addresses.interfaceAddress(text).subnet.prefix,
      gateway: gateway ? formatAddress(gateway) : "",
    };
  };
  const [v4, v6] = [place(4, endpoint?.ipv4), place(6, endpoint?.ipv6)];
  return {
    IPAMConfig: asked
      ? {
          ...(config.ipv4 ? { IPv4Address: config.ipv4 } : {}),
          ...(config.ipv6 ? { IPv6Address: config.ipv6 } : {}),
          ...(config.linkLocal ? { LinkLocalIPs: config.linkLocal } : {}),
        }
      : null,
    Links: config.links ?? null,
    Aliases: config.aliases ?? null,
    MacAddress: endpoint?.mac ?? config.mac ?? "",
    DriverOpts: config.driverOpts ?? null,
    GwPriority: config.gwPriority ?? 0,
    NetworkID: network?.id ?? "",
    EndpointID: endpoint?.id ?? "",
    Gateway: v4?.gateway ?? "",
    IPAddress: v4?.address ?? "",
    IPPrefixLen: v4?.prefix ?? 0,
    IPv6Gateway: v6?.gateway ?? "",
    GlobalIPv6Address: v6?.address ?? "",
    GlobalIPv6PrefixLen: v6?.prefix ?? 0,
    DNSNames: names && [...new Set(names)],
  };
}

/** NetworkSettings: of inspect. */
export function networkSettings(ctx: Context, container: Container): object {
  const pid = container.running?.pid;
  const Networks = shownNetworks(ctx, container);
  const Egress = ctx.endpoints.egress.shown(container);
  return {
    SandboxID: "",
    SandboxKey: pid ? `/proc/${pid}/ns/net` : "",
    Ports: shownPorts(container),
    Networks,
    ...(Egress && { Egress }),
  };
}

/** By port: where it is published; null for one that is only exposed. While it runs. */
function shownPorts({ record, state }: Container): Record<string, PortBinding[] | null> {
  const ports: Record<string, PortBinding[] | null> = {};
  if (!state.network) return ports;
  for (const { port, protocol } of exposedPorts(record.config)) ports[`${port}/${protocol}`] = null;
  for (const { port, protocol, hostAddress, hostPort } of state.network.ports) {
    const key = `${port}/${protocol}`;
    ports[key] = [...(ports[key] ?? []), { HostIp: hostAddress, HostPort: hostPort === 0 ? "" : String(hostPort) }];
  }
  return ports;
}

/** The same as the list of containers has it. */
export function portSummaries({ record, state }: Container): PortSummary[] {
  if (!state.network) return [];
  const published = state.network.ports;
  return [
    ...exposedPorts(record.config)
      .filter((one) => !published.some(({ port, protocol }) => port === one.port && protocol === one.protocol))
      .map(({ port, protocol }) => ({ PrivatePort: port, Type: protocol })),
    ...published.map(({ port, protocol, hostAddress, hostPort }) => ({
      IP: hostAddress,
      PrivatePort: port,
      ...(hostPort === 0 ? {} : { PublicPort: hostPort }),
      Type: protocol,
    })),
  ];
}
