import type { Engine, Filters } from "../../client/engine.ts";
import type { ImageSummary } from "../../spec/docker-api.ts";
import { type Command, ExitError } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import type { Options } from "../flags.ts";
import { ago, humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";
import { goTime } from "../text.ts";

const FILTERS = ["before=", "dangling=", "label=", "reference=", "since=", "until="];

const HEADERS = {
  ID: "IMAGE ID",
  Repository: "REPOSITORY",
  Tag: "TAG",
  Digest: "DIGEST",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  Size: "SIZE",
  Containers: "CONTAINERS",
  SharedSize: "SHARED SIZE",
  UniqueSize: "UNIQUE SIZE",
  VirtualSize: "SIZE",
};

export const command: Command = {
  usage: "[OPTIONS] [REPOSITORY[:TAG]]",
  args: [0, 1],
  completes: "image",
  flags: [
    { name: "all", short: "a", type: "bool", help: "Untagged images that others are made of as well" },
    { name: "digests", type: "bool", help: "Digests" },
    { ...filterFlag, choices: FILTERS },
    { name: "format", type: "string", config: "imagesFormat", help: 'Go template, "table TEMPLATE" or json' },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
    { name: "tree", type: "bool", help: "Platforms of each image, and which are in use" },
  ],
  examples: [
    ["inro images", "All images"],
    ["inro images --filter dangling=true -q", "Ids of what has no name"],
    ["inro images --format '{{.Repository}}:{{.Tag}} {{.Size}}'", "Own lines"],
  ],
  async run({ options, args, engine }) {
    const reference = args[0] === undefined ? [] : [`reference=${args[0]}`];
    const filters = toFilters([...options.list("filter"), ...reference]);
    if (options.bool("tree")) return await printTree(engine(), filters, options);
    const digests = options.bool("digests");
    const format = options.string("format");
    const images = await engine().listImages({
      all: options.bool("all"),
      digests: digests || /\.Digest\b/.test(format),
      filters,
    });
    const full = options.bool("no-trunc");
    const want = { column: digests, field: digests || /\.Digest\b/.test(format) };
    const rows = images.flatMap((image) => imageRows(image, full, want));
    if (options.bool("quiet") && (!options.has("format") || format === "table")) {
      await stdout.write(rows.map((row) => `${row.ID}\n`).join(""));
      return 0;
    }
    const digestColumn = digests ? "\t{{.Digest}}" : "";
    const columns = `{{.Repository}}\t{{.Tag}}${digestColumn}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`;
    await stdout.write(formatRows(format, columns, rows, HEADERS));
    return 0;
  },
};

async function printTree(engine: Engine, filters: Filters, options: Options): Promise<number> {
  const other = ["quiet", "no-trunc", "digests", "format"].find((name) => options.has(name));
  if (other) throw new ExitError(1, `--${other} is not yet supported with --tree`);
  const { imageTree } = await import("../image-tree.ts");
  const images = await engine.listImages({ all: options.bool("all"), filters, manifests: true });
  await stdout.write(imageTree(images));
  return 0;
}

/**
 * A row per tag, and one per repository that is known by digests alone; where digests are wanted a row per digest. An
 * image without any has one row.
 */
export function imageRows(image: ImageSummary, full: boolean, want: { column: boolean; field: boolean }): Row[] {
  const names = (image.RepoTags ?? []).filter((tag) => tag !== "<none>:<none>").map(splitTag);
  const sums = (image.RepoDigests ?? [])
    .filter((one) => one !== "<none>@<none>")
    .map((one) => one.split("@") as [string, string]);
  const cells: [repository: string, tag: string, digest: string][] = [];
  for (const [repository, tag] of names) {
    const found = sums.filter(([name]) => name === repository).map(([, digest]) => digest);
    const shown = want.field && found.length > 0 ? found : ["<none>"];
    for (const digest of shown) cells.push([repository, tag, digest]);
  }
  const others = sums.filter(([name]) => !names.some(([repository]) => repository === name));
  if (want.column) for (const [repository, digest] of others) cells.push([repository, "<none>", digest]);
  else for (const repository of new Set(others.map(([name]) => name))) cells.push([repository, "<none>", ""]);
  if (cells.length === 0) cells.push(["<none>", "<none>", "<none>"]);
  const size = humanSize(image.Size);
  return cells.map(([Repository, Tag, Digest]) => ({
    ID: full ? image.Id : image.Id.replace(/^sha256:/, "").slice(0, 12),
    Repository,
    Tag,
    Digest,
    CreatedSince: ago(image.Created),
    CreatedAt: goTime(image.Created),
    Size: size,
    Containers: image.Containers >= 0 ? String(image.Containers) : "N/A",
    SharedSize: image.SharedSize >= 0 ? humanSize(image.SharedSize, 4) : "N/A",
    UniqueSize: image.SharedSize >= 0 ? humanSize(image.Size - image.SharedSize, 4) : "N/A",
    VirtualSize: humanSize(image.Size, 4),
  }));
}

function splitTag(name: string): [string, string] {
  const colon = name.lastIndexOf(":");
  return [name.slice(0, colon), name.slice(colon + 1)];
}
