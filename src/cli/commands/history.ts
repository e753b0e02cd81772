import type { Command } from "../command.ts";
import { ago, humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows } from "../table.ts";
import { truncate } from "../text.ts";

const COLUMNS = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADERS = {
  ID: "IMAGE",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  CreatedBy: "CREATED BY",
  Size: "SIZE",
  Comment: "COMMENT",
};

const CREATED_BY_WIDTH = 45;

export const command: Command = {
  usage: "[OPTIONS] IMAGE",
  args: [1, 1],
  completes: "image",
  flags: [
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "human", short: "H", type: "bool", default: "true", help: "Sizes and dates in words" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "platform", type: "string", help: "Of this platform (linux/arm64)" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
  ],
  examples: [
    ["inro history busybox", "Its layers and what made them, newest first"],
    ["inro history --no-trunc --format '{{.CreatedBy}}' busybox", "The whole instructions"],
  ],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const full = options.bool("no-trunc");
    const human = !options.has("human") || options.bool("human");
    const entries = await engine().imageHistory(name, { platform: options.string("platform") });
    const rows = entries.map(({ Id, Created, CreatedBy, Size, Comment }) => {
      const at = `${new Date(Created * 1000).toISOString().slice(0, 19)}Z`;
      const by = CreatedBy.replaceAll("\t", " ");
      return {
        ID: full ? Id : Id.replace(/^sha256:/, "").slice(0, 12),
        CreatedSince: human ? ago(Created) : at,
        CreatedAt: at,
        CreatedBy: full ? by : truncate(by, CREATED_BY_WIDTH),
        Size: human ? humanSize(Size) : String(Size),
        Comment,
      };
    });
    const format = options.string("format");
    if (options.bool("quiet") && (format === "" || format === "table")) {
      await stdout.write(rows.map(({ ID }) => `${ID}\n`).join(""));
      return 0;
    }
    await stdout.write(formatRows(format, COLUMNS, rows, HEADERS));
    return 0;
  },
};
