import type { Volume } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";

export const VOLUME_HEADERS = {
  Name: "VOLUME NAME",
  Driver: "DRIVER",
  Scope: "SCOPE",
  Mountpoint: "MOUNTPOINT",
  Labels: "LABELS",
  Label: "",
  Links: "LINKS",
  Size: "SIZE",
  Availability: "AVAILABILITY",
  Group: "GROUP",
  Status: "STATUS",
};

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "cluster", type: "bool", help: "Only cluster volumes", hidden: true },
    { ...filterFlag, help: "Show only what matches: dangling, driver, label, name (key=value)" },
    { name: "format", type: "string", config: "volumesFormat", help: 'Go template, "table TEMPLATE" or json' },
    { name: "quiet", short: "q", type: "bool", help: "Only names" },
  ],
  examples: [
    ["inro volume ls", "All volumes"],
    ["inro volume ls -qf dangling=true", "Names of those that no container mounts"],
    ["inro volume ls --filter label=inro.snapshot-of=data", "Snapshots of a volume"],
    ["inro volume ls --format '{{.Name}} {{.Mountpoint}}'", "Own lines"],
  ],
  async run({ options, engine }) {
    const volumes = options.bool("cluster") ? [] : await engine().listVolumes(toFilters(options.list("filter")));
    const collator = new Intl.Collator("en", { numeric: true });
    volumes.sort((a, b) => collator.compare(a.Name, b.Name));
    const format = options.string("format");
    if (options.bool("quiet") && (!options.has("format") || format === "table")) {
      await stdout.write(volumes.map(({ Name }) => `${Name}\n`).join(""));
      return 0;
    }
    await stdout.write(formatRows(format, "{{.Driver}}\t{{.Name}}", volumes.map(volumeRow), VOLUME_HEADERS));
    return 0;
  },
};

export function volumeRow(volume: Volume): Row {
  const labels = volume.Labels ?? {};
  const { UsageData: usage } = volume;
  return {
    Name: volume.Name,
    Driver: volume.Driver,
    Scope: volume.Scope,
    Mountpoint: volume.Mountpoint,
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .toSorted()
      .join(","),
    Label: (key) => labels[String(key)] ?? "",
    Links: usage ? String(usage.RefCount) : "N/A",
    Size: usage && usage.Size >= 0 ? humanSize(usage.Size, 4) : "N/A",
    Availability: "N/A",
    Group: "N/A",
    Status: "N/A",
  };
}
