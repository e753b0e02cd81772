import { invalid } from "../../base/errors.ts";
import { parseAddress } from "../../network/address.ts";
import type { ContainerConfig, EndpointSettings, HostConfig } from "../../spec/docker-api.ts";
import { type Check, integer, list, map, object, text } from "../config/fields.ts";
import { networkMode } from "../config/modes.ts";
import type { EndpointConfig } from "./records.ts";

/** EndpointSettings as it comes in requests: what says how the endpoint is, is left out. */
const settings: Check<Partial<EndpointSettings>> = object<EndpointSettings>({
  IPAMConfig: object({ IPv4Address: text, IPv6Address: text, LinkLocalIPs: list(text) }),
  Links: list(text),
  Aliases: list(text),
  MacAddress: text,
  DriverOpts: map(text),
  GwPriority: integer,
  NetworkID: text,
  EndpointID: text,
  Gateway: text,
  IPAddress: text,
  IPPrefixLen: integer,
  IPv6Gateway: text,
  GlobalIPv6Address: text,
  GlobalIPv6PrefixLen: integer,
  DNSNames: list(text),
});

const networking = object<{ EndpointsConfig?: Record<string, Partial<EndpointSettings>> }>({
  EndpointsConfig: map((value, at) => (value === null ? {} : settings(value, at))),
});

/** What a connect request, or one entry of EndpointsConfig, asks for. Throws invalid. */
export function endpointConfig(value: unknown, at: string): EndpointConfig {
  return toConfig(value === undefined || value === null ? {} : settings(value, at));
}

function toConfig(given: Partial<EndpointSettings>): EndpointConfig {
  const { IPAMConfig, Aliases, Links, MacAddress, DriverOpts, GwPriority } = given;
  const config: EndpointConfig = {};
  const { IPv4Address, IPv6Address, LinkLocalIPs } = IPAMConfig ?? {};
  if (IPv4Address) {
    if (parseAddress(IPv4Address)?.family !== 4) throw invalid(`invalid IPv4 address: ${IPv4Address.slice(0, 64)}`);
    config.ipv4 = IPv4Address;
  }
  if (IPv6Address) {
    if (parseAddress(IPv6Address)?.family !== 6) throw invalid(`invalid IPv6 address: ${IPv6Address.slice(0, 64)}`);
    config.ipv6 = IPv6Address;
  }
  for (const address of LinkLocalIPs ?? []) {
    if (!parseAddress(address)) throw invalid(`invalid link-local IP address: ${address.slice(0, 64)}`);
  }
  if (LinkLocalIPs?.length) config.linkLocal = LinkLocalIPs;
  if (MacAddress) config.mac = macAddress(MacAddress);
  for (const alias of Aliases ?? []) checkAlias(alias);
  if (Aliases?.length) config.aliases = [...new Set(Aliases)];
  if (Links?.length) config.links = Links;
  if (GwPriority) config.gwPriority = GwPriority;
  if (DriverOpts && Object.keys(DriverOpts).length > 0) config.driverOpts = checkDriverOpts(DriverOpts);
  return config;
}

/** In lower case, with colons. Throws invalid; so do addresses that are a group's. */
export function macAddress(value: string): string {
  const bytes = /^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(value) ? value.toLowerCase().replaceAll("-", ":") : "";
  if (bytes === "" || bytes === "00:00:00:00:00:00" || Number.parseInt(bytes.slice(0, 2), 16) & 1) {
    throw invalid(`invalid MAC address: ${JSON.stringify(value.slice(0, 64))}`);
  }
  return bytes;
}

function checkAlias(alias: string): void {
  // It ends in /etc/hosts and in DNS answers.
  if (!/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/.test(alias)) {
    throw invalid(`invalid network alias: ${JSON.stringify(alias.slice(0, 128))}`);
  }
}

export const IFNAME_OPTION = "com.docker.network.endpoint.ifname";
export const SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls";

function checkDriverOpts(options: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(options)) {
    if (name === IFNAME_OPTION) checkInterfaceName(value, "interface name");
    else if (name === SYSCTLS_OPTION)
      throw invalid(`endpoint option ${name} is not supported: use the container's sysctls`);
    else throw invalid(`unknown endpoint option ${JSON.stringify(name.slice(0, 128))}`);
  }
  return options;
}

/** What dev_valid_name() of the kernel takes, without what a shell or a path would trip over. */
export function checkInterfaceName(name: string, what: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/.test(name)) return;
  throw invalid(`invalid ${what} ${JSON.stringify(name.slice(0, 64))}: 1 to 15 letters, digits, '_', '.' or '-'`);
}

/**
 * The networks of a create request by the name that it gives: NetworkMode's, and those of NetworkingConfig. Empty where
 * the container has none of its own (`none`, `host`, another container's). Throws invalid.
 */
export function requestedEndpoints(
  body: Record<string, unknown>,
  config: ContainerConfig,
  host: HostConfig,
): Map<string, EndpointConfig> {
  const mode = networkMode(host.NetworkMode);
  const given = networking(body.NetworkingConfig ?? {}, "NetworkingConfig").EndpointsConfig ?? {};
  const endpoints = new Map<string, EndpointConfig>();
  for (const [name, one] of Object.entries(given)) {
    const settings = toConfig(one);
    const key = name === "default" ? networkMode("default") : name;
    const shared = mode === "none" || mode === "host" || mode.startsWith("container:");
    if (shared) {
      // The CLI repeats NetworkMode, without settings.
      if (name === mode || name === "default") {
        if (Object.keys(settings).length > 0) {
          throw invalid(`conflicting options: settings of an endpoint and the network mode ${mode}`);
        }
        continue;
      }
      throw invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes");
    }
    endpoints.set(key, settings);
  }
  if (mode === "none" || mode === "host" || mode.startsWith("container:")) {
    if (config.MacAddress) throw invalid("conflicting options: mac-address and the network mode");
    return endpoints;
  }
  const own = endpoints.get(mode) ?? {};
  if (config.MacAddress) {
    const mac = macAddress(config.MacAddress);
    if (own.mac && own.mac !== mac) {
      throw invalid(
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
      );
    }
    own.mac = mac;
  }
  endpoints.delete(mode);
  return new Map([[mode, own], ...endpoints]);
}
