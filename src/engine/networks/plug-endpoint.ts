import type { IpFamily } from "../../network/address.ts";
import { type Bandwidth, shape } from "../../network/bandwidth.ts";
import { type InterfaceSpec, plug } from "../../network/interface.ts";
import type { NetworkNamespace } from "../../network/namespace.ts";
import type { Networks } from "./networks.ts";
import type { EndpointState, RunNetwork } from "./records.ts";
import { FAMILIES } from "./routes.ts";
import { mtuOf } from "./validate.ts";

/**
 * Makes an endpoint's interface in the namespace, guarded, with its addresses, the default routes that are its own by
 * `routes`, and its limits. Where it fails nothing is left.
 */
export function plugEndpoint(
  networks: Networks,
  namespace: NetworkNamespace,
  bandwidth: Bandwidth,
  run: RunNetwork,
  endpoint: EndpointState,
  routes: ReadonlyMap<IpFamily, EndpointState>,
): void {
  const network = networks.byId(endpoint.network)!;
  const addresses = networks.addresses(network);
  const { driver } = networks;
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
  driver.protect(network, endpoint, bandwidth.egress);
  try {
    plug(driver.stack, namespace, spec);
    // Packets that wait are better than packets that are dropped, which comes to those whose container undoes this.
    if (bandwidth.egress !== undefined) shape(namespace.stack, endpoint.interface, bandwidth.egress);
    if (bandwidth.ingress !== undefined && endpoint.hostInterface) {
      shape(driver.stack, endpoint.hostInterface, bandwidth.ingress);
    }
  } catch (error) {
    driver.unprotect(endpoint);
    throw error;
  }
}
