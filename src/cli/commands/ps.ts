import type { ContainerSummary } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { ago, humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { type Port, portsText } from "../ports.ts";
import { formatRows, type Row } from "../table.ts";
import { goTime, truncate } from "../text.ts";

const COLUMNS = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const FILTERS = [
  ...["ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network"],
  ...["publish", "since", "status", "volume"],
].map((key) => `${key}=`);

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
  HealthStatus: "HEALTH STATUS",
  Size: "SIZE",
  Labels: "LABELS",
  Label: "",
  Mounts: "MOUNTS",
  LocalVolumes: "LOCAL VOLUMES",
  Networks: "NETWORKS",
  Platform: "PLATFORM",
};

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "Stopped containers as well" },
    { ...filterFlag, choices: FILTERS },
    { name: "format", type: "string", config: "psFormat", help: 'Go template, "table TEMPLATE" or json' },
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
    const size = options.bool("size") || (wantsSize(format) && !options.has("size"));
    const last = options.bool("latest") ? 1 : options.number("last");
    const containers = await engine().listContainers({
      all: options.bool("all"),
      limit: last !== undefined && last > 0 ? last : undefined,
      size,
      filters: toFilters(options.list("filter")),
    });
    const full = options.bool("no-trunc");
    if (options.bool("quiet") && (!options.has("format") || format === "table")) {
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

/** Counting costs the engine a walk, so only what shows it asks for it. */
function wantsSize(format: string): boolean {
  return format === "json" || /\.Size\b|\bjson\s+\.\s*[}|]/.test(format);
}

export function row(container: ContainerSummary, full: boolean, size: boolean): Row {
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
    Image: full ? image : imageName(image, container.ImageID),
    Command: JSON.stringify(text(container.Command, 20)),
    CreatedAt: goTime(container.Created),
    RunningFor: ago(container.Created),
    Ports: portsText((container.Ports ?? []) as Port[]),
    State: container.State,
    Status: container.Status,
    // Since docker 29, whose JSON has it too.
    HealthStatus: () => /\((?:health: )?(starting|healthy|unhealthy)\)$/.exec(container.Status)?.[1] ?? "",
    Size: size ? sizes(container) : "0B",
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .toSorted()
      .join(","),
    Label: (key) => labels[String(key)] ?? "",
    Mounts: mounts.join(","),
    LocalVolumes: String((container.Mounts ?? []).filter((mount) => mount.Driver === "local").length),
    Networks: Object.keys(
      (container.NetworkSettings as { Networks?: Record<string, unknown> } | undefined)?.Networks ?? {},
    )
      .toSorted()
      .join(","),
    Platform: platform(container),
  };
}

/** An image that has lost its name is its id, shortened; a digest after a name is left out. */
function imageName(image: string, id: string): string {
  if (image === id) return id.replace(/^sha256:/, "").slice(0, 12);
  return image.replace(/@sha256:[0-9a-f]{64}$/, "");
}

function platform(container: ContainerSummary): string | null {
  const { platform: one } = (container as { ImageManifestDescriptor?: Descriptor }).ImageManifestDescriptor ?? {};
  return one ? [one.os, one.architecture, one.variant].filter(Boolean).join("/") : null;
}

interface Descriptor {
  platform?: { os?: string; architecture?: string; variant?: string };
}

function sizes({ SizeRw = 0, SizeRootFs = 0 }: ContainerSummary): string {
  const own = humanSize(SizeRw);
  return SizeRootFs > 0 ? `${own} (virtual ${humanSize(SizeRootFs)})` : own;
}
