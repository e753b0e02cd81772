import type { IpFamily } from "../../network/address.ts";
import type { ContainerRecord } from "../store.ts";
import type { Networks } from "./networks.ts";
import type { Target } from "./published.ts";
import type { EndpointState, RunNetwork } from "./records.ts";
import { gatewayMode, HOST_BINDING } from "./validate.ts";

/** Which way a container goes out, and so which way it is reached: of what the records say, nothing is made. */

export const FAMILIES: readonly IpFamily[] = [4, 6];

/** By family: the endpoint that the default route goes by. Highest priority, then the network's name. */
export function routesOf(
  networks: Networks,
  record: Pick<ContainerRecord, "endpoints">,
  run: RunNetwork,
): Map<IpFamily, EndpointState> {
  const priority = ({ network }: EndpointState) => record.endpoints?.[network]?.gwPriority ?? 0;
  const nameOf = ({ network }: EndpointState) => networks.byId(network)?.name ?? "";
  const sorted = run.endpoints.toSorted(
    (a, b) => priority(b) - priority(a) || (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0),
  );
  const routes = new Map<IpFamily, EndpointState>();
  for (const family of FAMILIES) {
    const way = sorted.find((endpoint) => {
      const network = networks.byId(endpoint.network);
      if (!network || network.internal || !(family === 4 ? endpoint.ipv4 : endpoint.ipv6)) return false;
      return networks.addresses(network).gateway(family) !== undefined;
    });
    if (way) routes.set(family, way);
  }
  return routes;
}

/** Where published ports lead to: the container's address in the network of its default route. */
export function targetOf(networks: Networks, record: ContainerRecord, run: RunNetwork, publishAddress: string): Target {
  const routes = routesOf(networks, record, run);
  const target: Target = { routed: { 4: false, 6: false }, defaultAddress: publishAddress };
  for (const family of FAMILIES) {
    const endpoint = routes.get(family);
    const network = endpoint && networks.byId(endpoint.network);
    if (!endpoint || network?.driver !== "bridge") continue;
    const address = family === 4 ? endpoint.ipv4 : endpoint.ipv6;
    if (address) target[family === 4 ? "ipv4" : "ipv6"] = address;
    target.routed[family] = gatewayMode(network, family) === "routed";
    if (family === 4 && network.options[HOST_BINDING]) target.defaultAddress = network.options[HOST_BINDING];
  }
  return target;
}
