import type { ContainerSummary } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { ago, humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";
import { goTime, truncate } from "../text.ts";

const COLUMNS = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const HEADERS = {
  ID: "CONTAINER ID",
  Names: "NAMES",
  Image: "IMAGE",
  Command: "COMMAND",
  CreatedAt: "CREATED AT",
  RunningFor: "CREATED",
  Ports: "PORTS",
  State: "STATE",
  Status: "STATUS",
  Size: "SIZE",
  Labels: "LABELS",
  Label: "",
  Mounts: "MOUNTS",
  LocalVolumes: "LOCAL VOLUMES",
  Networks: "NETWORKS",
};

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "Stopped containers as well" },
    filterFlag,
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "last", short: "n", type: "int", default: "-1", help: "The N latest, in any state" },
    { name: "latest", short: "l", type: "bool", help: "The latest, in any state" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
    { name: "size", short: "s", type: "bool", help: "Sizes on disk" },
  ],
  examples: [
    ["inro ps -a", "All containers"],
    ["inro ps -aq --filter status=exited", "Ids of what has ended"],
    ["inro ps --format '{{.Names}}: {{.Status}}'", "Own lines"],
  ],
  async run({ options, engine }) {
    const format = options.string("format");
    const size = options.bool("size") || (/\.Size\b/.test(format) && !options.has("size"));
    const last = options.bool("latest") ? 1 : options.number("last");
    const containers = await engine().listContainers({
      all: options.bool("all"),
      limit: last !== undefined && last > 0 ? last : undefined,
      size,
      filters: toFilters(options.list("filter")),
    });
    const full = options.bool("no-trunc");
    if (options.bool("quiet") && (format === "" || format === "table")) {
      await stdout.write(containers.map(({ Id }) => `${full ? Id : Id.slice(0, 12)}\n`).join(""));
      return 0;
    }
    const columns = options.bool("size") ? `${COLUMNS}\t{{.Size}}` : COLUMNS;
    await stdout.write(
      formatRows(
        format,
        columns,
        containers.map((one) => row(one, full, size)),
        HEADERS,
      ),
    );
    return 0;
  },
};

function row(container: ContainerSummary, full: boolean, size: boolean): Row {
  const labels = container.Labels ?? {};
  const text = (value: string, length: number) => (full ? value : truncate(value, length));
  const mounts = (container.Mounts ?? []).map((mount) => text(mount.Name || mount.Source, 15));
  const image = container.Image || "<no image>";
  return {
    ID: full ? container.Id : container.Id.slice(0, 12),
    Names: (container.Names ?? [])
      .map((name) => name.replace(/^\//, ""))
      .filter((name) => full || !name.includes("/"))
      .join(","),
    Image: full ? image : image.replace(/^sha256:([0-9a-f]{12})[0-9a-f]{52}$/, "$1"),
    Command: JSON.stringify(text(container.Command, 20)),
    CreatedAt: goTime(container.Created),
    RunningFor: ago(container.Created),
    Ports: ports(container.Ports ?? []),
    State: container.State,
    Status: container.Status,
    Size: size ? sizes(container) : "0B",
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
    Label: (key) => labels[String(key)] ?? "",
    Mounts: mounts.join(","),
    LocalVolumes: String((container.Mounts ?? []).filter((mount) => mount.Driver === "local").length),
    Networks: Object.keys(
      (container.NetworkSettings as { Networks?: Record<string, unknown> } | undefined)?.Networks ?? {},
    ).join(","),
  };
}

function sizes({ SizeRw = 0, SizeRootFs = 0 }: ContainerSummary): string {
  const own = humanSize(SizeRw);
  return SizeRootFs > 0 ? `${own} (virtual ${humanSize(SizeRootFs)})` : own;
}

function ports(list: readonly object[]): string {
  return (list as { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[])
    .map(({ IP, PrivatePort, PublicPort, Type }) => {
      if (!PublicPort) return `${PrivatePort}/${Type}`;
      const address = IP?.includes(":") ? `[${IP}]` : IP;
      return `${address}:${PublicPort}->${PrivatePort}/${Type}`;
    })
    .join(", ");
}
