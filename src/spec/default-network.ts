import type { EndpointSettings } from "./docker-api.ts";

/** What NetworkSettings itself had of the default network until API 1.52, and templates still ask for. */
export function defaultNetworkFigures(networks: Readonly<Record<string, EndpointSettings>>): object {
  const main = networks.bridge;
  return {
    EndpointID: main?.EndpointID ?? "",
    Gateway: main?.Gateway ?? "",
    GlobalIPv6Address: main?.GlobalIPv6Address ?? "",
    GlobalIPv6PrefixLen: main?.GlobalIPv6PrefixLen ?? 0,
    IPAddress: main?.IPAddress ?? "",
    IPPrefixLen: main?.IPPrefixLen ?? 0,
    IPv6Gateway: main?.IPv6Gateway ?? "",
    MacAddress: main?.MacAddress ?? "",
  };
}
