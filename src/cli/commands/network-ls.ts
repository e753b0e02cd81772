import type { NetworkInspect } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";
import { goTime } from "../text.ts";

const HEADERS = {
  ID: "NETWORK ID",
  Name: "NAME",
  Driver: "DRIVER",
  Scope: "SCOPE",
  IPv4: "IPV4",
  IPv6: "IPV6",
  Internal: "INTERNAL",
  Labels: "LABELS",
  Label: "",
  CreatedAt: "CREATED AT",
};

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { ...filterFlag, help: "Show only what matches: dangling, driver, id, label, name, scope, type (key=value)" },
    { name: "format", type: "string", config: "networksFormat", help: 'Go template, "table TEMPLATE" or json' },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
  ],
  examples: [
    ["inro network ls", "All networks"],
    ["inro network ls --filter type=custom -q", "Ids of those that somebody made"],
    ["inro network ls --format '{{.Name}}: {{.Driver}}'", "Own lines"],
  ],
  async run({ options, engine }) {
    const networks = await engine().listNetworks(toFilters(options.list("filter")));
    const collator = new Intl.Collator("en", { numeric: true });
    networks.sort((a, b) => collator.compare(a.Name, b.Name));
    const full = options.bool("no-trunc");
    const format = options.string("format");
    if (options.bool("quiet") && (format === "" || format === "table")) {
      await stdout.write(networks.map(({ Id }) => `${full ? Id : Id.slice(0, 12)}\n`).join(""));
      return 0;
    }
    const rows = networks.map((network) => row(network, full));
    await stdout.write(formatRows(format, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", rows, HEADERS));
    return 0;
  },
};

function row(network: NetworkInspect, full: boolean): Row {
  const labels = network.Labels ?? {};
  return {
    ID: full ? network.Id : network.Id.slice(0, 12),
    Name: network.Name,
    Driver: network.Driver,
    Scope: network.Scope,
    IPv4: String(network.EnableIPv4 ?? true),
    IPv6: String(network.EnableIPv6),
    Internal: String(network.Internal),
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
    Label: (key) => labels[String(key)] ?? "",
    CreatedAt: goTime(Math.floor(Date.parse(network.Created) / 1000)),
  };
}
