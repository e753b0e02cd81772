import { toJson } from "../../base/template/functions.ts";
import { compileTemplate } from "../../base/template/template.ts";
import type { BuildCacheItem } from "../../spec/build.ts";
import type { ContainerSummary, ImageSummary, Volume } from "../../spec/docker-api.ts";
import { type BuildCacheAnswer, buildCacheOf, cacheRow, cacheSizes } from "../build/cache-rows.ts";
import type { Command } from "../command.ts";
import { humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";
import { imageRows } from "./images.ts";
import { row as containerRow } from "./ps.ts";
import { volumeRow } from "./volume-ls.ts";

const HEADERS = { Type: "TYPE", TotalCount: "TOTAL", Active: "ACTIVE", Size: "SIZE", Reclaimable: "RECLAIMABLE" };
const COLUMNS = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

interface Usage {
  layersSize: number;
  /** Undefined where the engine does not say. */
  reclaimable?: number | undefined;
  images: ImageSummary[];
  containers: ContainerSummary[];
  volumes: Volume[];
  cache: BuildCacheItem[];
}

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "verbose", short: "v", type: "bool", help: "Each image, container and volume" },
  ],
  description: "Shows what takes space, and what a prune could free.",
  examples: [
    ["inro system df", "Figures of each kind"],
    ["inro system df -v", "What they come from"],
    ["inro system df --format '{{.Type}}: {{.Reclaimable}}'", "Own lines"],
  ],
  async run({ options, engine }) {
    const usage = read(await engine().diskUsage<Answer>());
    const format = options.string("format");
    const text = options.bool("verbose")
      ? verbose(usage, format)
      : formatRows(format, COLUMNS, summary(usage), HEADERS);
    await stdout.write(text);
    return 0;
  },
};

/** The forms of both API 1.52 and the ones before. */
interface Answer extends BuildCacheAnswer {
  LayersSize?: number;
  Images?: ImageSummary[] | null;
  Containers?: ContainerSummary[] | null;
  Volumes?: Volume[] | null;
  ImageUsage?: { TotalSize?: number; Reclaimable?: number; Items?: ImageSummary[] };
  ContainerUsage?: { Items?: ContainerSummary[] };
  VolumeUsage?: { Items?: Volume[] };
}

function read(answer: Answer): Usage {
  return {
    layersSize: answer.ImageUsage?.TotalSize ?? answer.LayersSize ?? 0,
    reclaimable: answer.ImageUsage?.Reclaimable,
    images: answer.ImageUsage?.Items ?? answer.Images ?? [],
    containers: answer.ContainerUsage?.Items ?? answer.Containers ?? [],
    volumes: answer.VolumeUsage?.Items ?? answer.Volumes ?? [],
    cache: buildCacheOf(answer),
  };
}

const total = (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + Math.max(0, size), 0);

function summary({ layersSize, reclaimable, images, containers, volumes, cache }: Usage): Row[] {
  const built = cacheSizes(cache);
  const used = images.filter(({ Containers }) => Containers > 0);
  // What an unused image shares with others stays.
  const kept = total(used.map(({ Size, SharedSize }) => Size - Math.max(0, SharedSize)));
  const up = (one: ContainerSummary) => ["running", "paused", "restarting"].includes(one.State);
  const own = (some: ContainerSummary[]) => total(some.map(({ SizeRw = 0 }) => SizeRw));
  const sizes = (some: Volume[]) => total(some.map(({ UsageData }) => UsageData?.Size ?? 0));
  const idle = volumes.filter(({ UsageData }) => !UsageData?.RefCount);
  const line = (type: string, count: number, active: number, size: number, free: number): Row => ({
    Type: type,
    TotalCount: String(count),
    Active: String(active),
    Size: humanSize(size, 4),
    Reclaimable: size > 0 ? `${humanSize(free, 4)} (${Math.floor((free * 100) / size)}%)` : humanSize(free, 4),
  });
  return [
    line("Images", images.length, used.length, layersSize, reclaimable ?? layersSize - kept),
    line(
      "Containers",
      containers.length,
      containers.filter(up).length,
      own(containers),
      own(containers.filter((one) => !up(one))),
    ),
    line("Local Volumes", volumes.length, volumes.length - idle.length, sizes(volumes), sizes(idle)),
    line("Build Cache", cache.length, cache.filter(({ InUse }) => InUse).length, built.total, built.free),
  ];
}

interface Section {
  columns: string;
  headers: Record<string, string>;
}

const IMAGES: Section = {
  columns:
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
  headers: {
    Repository: "REPOSITORY",
    Tag: "TAG",
    ID: "IMAGE ID",
    CreatedSince: "CREATED",
    Size: "SIZE",
    SharedSize: "SHARED SIZE",
    UniqueSize: "UNIQUE SIZE",
    Containers: "CONTAINERS",
  },
};
const CONTAINERS: Section = {
  columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
  headers: {
    ID: "CONTAINER ID",
    Image: "IMAGE",
    Command: "COMMAND",
    LocalVolumes: "LOCAL VOLUMES",
    Size: "SIZE",
    RunningFor: "CREATED",
    Status: "STATUS",
    Names: "NAMES",
  },
};
const VOLUMES: Section = {
  columns: "{{.Name}}\t{{.Links}}\t{{.Size}}",
  headers: { Name: "VOLUME NAME", Links: "LINKS", Size: "SIZE" },
};
const CACHE: Section = {
  columns: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
  headers: {
    ID: "CACHE ID",
    CacheType: "CACHE TYPE",
    Size: "SIZE",
    CreatedSince: "CREATED",
    LastUsedSince: "LAST USED",
    UsageCount: "USAGE",
    Shared: "SHARED",
  },
};

function verbose(usage: Usage, format: string): string {
  const table = format === "" || format === "table";
  // As docker has it: an image once, and whole ids where a template may shorten them.
  const images = usage.images.flatMap((image) => imageRows(image, !table, { column: false, field: false }).slice(0, 1));
  const containers = usage.containers.map((one) => ({
    ...containerRow(one, !table, true),
    Size: humanSize(one.SizeRw ?? 0),
  }));
  const volumes = usage.volumes.map(volumeRow);
  const cache = usage.cache.map((item) => cacheRow(item, table));
  if (!table) {
    const data = { Images: images, Containers: containers, Volumes: volumes, BuildCache: cache };
    return format === "json" ? toJson(data) : compileTemplate(format)(data);
  }
  const section = ({ columns, headers }: Section, rows: Row[]) => formatRows("", columns, rows, headers);
  return [
    `Images space usage:\n\n${section(IMAGES, images)}`,
    `Containers space usage:\n\n${section(CONTAINERS, containers)}`,
    `Local Volumes space usage:\n\n${section(VOLUMES, volumes)}`,
    `Build cache usage: ${humanSize(cacheSizes(usage.cache).total, 4)}\n\n${section(CACHE, cache)}`,
  ].join("\n");
}
