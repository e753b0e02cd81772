import type { EndpointSettings } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { toMap } from "../create/environment.ts";
import type { Options } from "../flags.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK CONTAINER",
  args: [2, 2],
  completes: "network",
  flags: [
    { name: "alias", type: "list", help: "Another name of the container in this network" },
    { name: "driver-opt", type: "list", help: "Option of the driver (key=value)" },
    { name: "gw-priority", type: "int", default: "0", help: "The highest has the default route" },
    { name: "ip", type: "string", help: "IPv4 address" },
    { name: "ip6", type: "string", help: "IPv6 address" },
    { name: "link", type: "list", help: "Another container under a name (container:name)" },
    { name: "link-local-ip", type: "list", help: "Link-local address" },
    { name: "mac-address", type: "string", help: "MAC address" },
  ],
  description: "A running container gets another interface at once, a stopped one with its next start.",
  examples: [
    ["inro network connect app web", "Into one more network"],
    ["inro network connect --ip 10.9.0.7 --alias db app pg", "With an address and a name"],
  ],
  async run({ options, args, engine }) {
    const [network, container] = args as [string, string];
    await engine().connectNetwork(network, { Container: container, EndpointConfig: endpoint(options) });
    return 0;
  },
};

function endpoint(options: Options): EndpointSettings {
  const localIps = options.list("link-local-ip");
  const settings: EndpointSettings = {};
  if (options.has("ip") || options.has("ip6") || localIps.length > 0) {
    settings.IPAMConfig = {
      ...(options.has("ip") ? { IPv4Address: options.string("ip") } : {}),
      ...(options.has("ip6") ? { IPv6Address: options.string("ip6") } : {}),
      ...(localIps.length > 0 ? { LinkLocalIPs: localIps } : {}),
    };
  }
  if (options.has("alias")) settings.Aliases = options.list("alias").flatMap((text) => text.split(","));
  if (options.has("link")) settings.Links = options.list("link");
  if (options.has("driver-opt")) settings.DriverOpts = toMap(options.list("driver-opt"));
  if (options.has("gw-priority")) settings.GwPriority = options.number("gw-priority")!;
  if (options.has("mac-address")) settings.MacAddress = options.string("mac-address");
  return settings;
}
