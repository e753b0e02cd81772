import { isIP } from "node:net";
import type { IpamConfig } from "../../spec/docker-api.ts";
import { type Command, ExitError } from "../command.ts";
import { labels, toMap } from "../create/environment.ts";
import type { Options } from "../flags.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK",
  args: [1, 1],
  flags: [
    { name: "attachable", type: "bool", help: "Containers may connect by themselves (of use in a swarm alone)" },
    { name: "aux-address", type: "list", value: "map", help: "Address that no container gets (name=ip)" },
    { name: "config-from", type: "string", value: "network", help: "Take the settings of this network" },
    { name: "config-only", type: "bool", help: "Only keep settings, for --config-from" },
    {
      name: "driver",
      short: "d",
      type: "string",
      default: "bridge",
      choices: ["bridge", "macvlan", "ipvlan"],
      help: "bridge, macvlan or ipvlan",
    },
    { name: "gateway", type: "list", value: "ip", help: "The host's address in a subnet" },
    { name: "ingress", type: "bool", help: "Not supported", hidden: true },
    { name: "internal", type: "bool", help: "No way out, and none in" },
    { name: "ip-range", type: "list", value: "cidr", help: "Part of a subnet from which containers get addresses" },
    { name: "ipam-driver", type: "string", default: "default", help: "Who manages addresses", hidden: true },
    { name: "ipam-opt", type: "list", value: "map", help: "Option of that driver", hidden: true },
    { name: "ipv4", type: "bool", default: "true", help: "Give IPv4 addresses" },
    { name: "ipv6", type: "bool", help: "Give IPv6 addresses" },
    { name: "label", type: "list", help: "Label (key=value)" },
    { name: "opt", short: "o", type: "list", value: "map", help: "Option of the driver (key=value)" },
    { name: "scope", type: "string", help: "local", hidden: true },
    { name: "subnet", type: "list", value: "cidr", help: "Subnet, one for each family" },
  ],
  description: `Without --subnet the network gets one that no other network and no route of this machine has. Containers of one
network reach each other, those of another do not.

Options of driver bridge (com.docker.network…): bridge.name, bridge.enable_icc, bridge.enable_ip_masquerade,
bridge.host_binding_ipv4, bridge.gateway_mode_ipv4 and _ipv6 (nat, nat-unprotected, routed, isolated), driver.mtu,
container_iface_prefix. Of macvlan and ipvlan: parent, macvlan_mode, ipvlan_mode, ipvlan_flag.`,
  examples: [
    ["inro network create app", "A network of its own"],
    ["inro network create --internal db", "Without a way to the outside"],
    ["inro network create --ipv6 --subnet 10.9.0.0/24 --subnet fd00:9::/64 both", "Chosen subnets, both families"],
    ["inro network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 lan", "On the wire"],
  ],
  async run({ options, args, engine }) {
    const { Id, Warning } = await engine().createNetwork({
      Name: args[0]!,
      Driver: options.string("driver") || "bridge",
      Options: toMap(options.list("opt")),
      IPAM: {
        Driver: options.string("ipam-driver") || "default",
        Options: toMap(options.list("ipam-opt")),
        Config: ipamConfig(options),
      },
      Internal: options.bool("internal"),
      Ingress: options.bool("ingress"),
      Attachable: options.bool("attachable"),
      ConfigOnly: options.bool("config-only"),
      ...(options.has("config-from") ? { ConfigFrom: { Network: options.string("config-from") } } : {}),
      ...(options.has("scope") ? { Scope: options.string("scope") } : {}),
      ...(options.has("ipv4") ? { EnableIPv4: options.bool("ipv4") } : {}),
      ...(options.has("ipv6") ? { EnableIPv6: options.bool("ipv6") } : {}),
      Labels: labels([], options.list("label")),
    });
    if (Warning) await stderr.line(`WARNING: ${Warning}`);
    await stdout.line(Id);
    return 0;
  },
};

const familyOf = (text: string) => isIP(text.split("/")[0]!);

/** One entry a subnet; the other options belong to the subnet of their family. The engine checks the addresses. */
function ipamConfig(options: Options): IpamConfig[] {
  const entries = options.list("subnet").map((Subnet): IpamConfig => ({ Subnet }));
  const entryOf = (address: string, what: string): IpamConfig => {
    const family = familyOf(address);
    if (family === 0) throw new ExitError(1, `invalid ${what}: ${address}`);
    const entry = entries.find(({ Subnet }) => familyOf(Subnet!) === family);
    if (!entry) throw new ExitError(1, `no matching subnet for ${what} ${address}`);
    return entry;
  };
  for (const range of options.list("ip-range")) {
    const entry = entryOf(range, "range");
    if (entry.IPRange) throw new ExitError(1, `cannot configure multiple ranges on the same subnet (${entry.Subnet})`);
    entry.IPRange = range;
  }
  for (const gateway of options.list("gateway")) {
    const entry = entryOf(gateway, "gateway");
    if (entry.Gateway)
      throw new ExitError(1, `cannot configure multiple gateways for the same subnet (${entry.Subnet})`);
    entry.Gateway = gateway;
  }
  for (const [name, address] of Object.entries(toMap(options.list("aux-address")))) {
    const entry = entryOf(address, "aux-address");
    entry.AuxiliaryAddresses = { ...entry.AuxiliaryAddresses, [name]: address };
  }
  return entries;
}
