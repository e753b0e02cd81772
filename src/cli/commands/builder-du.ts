import type { BuildCacheItem } from "../../spec/build.ts";
import { type BuildCacheAnswer, buildCacheOf, cacheSizes } from "../build/cache-rows.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { ago, humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows, type Row } from "../table.ts";

const HEADERS = { ID: "ID", Reclaimable: "RECLAIMABLE", Size: "SIZE", LastAccessed: "LAST ACCESSED" };
const COLUMNS = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastAccessed}}";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { ...filterFlag, help: "Show only what matches (type=regular, id=…, description=…)" },
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "verbose", type: "bool", help: "All that is known of each" },
  ],
  description: "Shows what builds have kept, and how much of it a prune would free.",
  examples: [["inro builder du --verbose", "What each is of"]],
  async run({ options, engine }) {
    const filters = toFilters(options.list("filter"));
    const items = buildCacheOf(await engine().diskUsage<BuildCacheAnswer>())
      .filter((item) => matches(item, filters))
      .sort((a, b) => b.Size - a.Size);
    if (options.bool("verbose")) {
      await stdout.write(items.map(details).join("\n"));
    } else await stdout.write(formatRows(options.string("format"), COLUMNS, items.map(row), HEADERS));
    const { total, free } = cacheSizes(items);
    if (options.string("format") === "") {
      await stdout.write(`Reclaimable:\t${humanSize(free, 4)}\nTotal:\t\t${humanSize(total, 4)}\n`);
    }
    return 0;
  },
};

function matches(item: BuildCacheItem, filters: Record<string, string[]>): boolean {
  const any = (values: string[] | undefined, test: (value: string) => boolean) => values?.some(test) ?? true;
  return (
    any(filters.id, (value) => item.ID.startsWith(value)) &&
    any(filters.type, (value) => item.Type === value) &&
    any(filters.description, (value) => item.Description.includes(value))
  );
}

function row(item: BuildCacheItem): Row {
  return {
    ID: item.ID,
    Reclaimable: String(!item.InUse && !item.Shared),
    Size: humanSize(item.Size, 4),
    LastAccessed: item.LastUsedAt ? ago(Date.parse(item.LastUsedAt) / 1000) : "",
    Type: item.Type,
    Description: item.Description,
    Shared: String(item.Shared),
    InUse: String(item.InUse),
    UsageCount: String(item.UsageCount),
  };
}

function details(item: BuildCacheItem): string {
  const lines: [string, string][] = [
    ["ID", item.ID],
    ...(item.Parents?.length ? ([["Parents", item.Parents.join(", ")]] as [string, string][]) : []),
    ["Created at", item.CreatedAt],
    ["Mutable", String(item.Type !== "regular")],
    ["Reclaimable", String(!item.InUse && !item.Shared)],
    ["Shared", String(item.Shared)],
    ["Size", humanSize(item.Size, 4)],
    ["Description", item.Description],
    ["Usage count", String(item.UsageCount)],
    ...(item.LastUsedAt ? ([["Last used", ago(Date.parse(item.LastUsedAt) / 1000)]] as [string, string][]) : []),
    ["Type", item.Type],
  ];
  return lines.map(([name, value]) => `${`${name}:`.padEnd(14)}${value}\n`).join("");
}
