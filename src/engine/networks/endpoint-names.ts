import { InroError } from "../../base/errors.ts";
import { formatAddress, parseAddress } from "../../network/address.ts";
import { randomMac } from "../../network/bridge.ts";
import { IFNAME_OPTION } from "./endpoint-settings.ts";
import type { EndpointConfig, EndpointState, NetworkRecord } from "./records.ts";
import { PREFIX } from "./validate.ts";

/** `eth0`, or what the endpoint or the network says. Throws invalid when somebody has it. */
export function interfaceName(network: NetworkRecord, asked: EndpointConfig, others: readonly EndpointState[]): string {
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
export function macOf(ipv4: string | undefined): string {
  const address = ipv4 ? parseAddress(ipv4) : undefined;
  const bytes = address ? Buffer.from([0x02, 0x42, ...formatAddress(address).split(".").map(Number)]) : randomMac();
  return bytes.toString("hex").replace(/..(?!$)/g, "$&:");
}
