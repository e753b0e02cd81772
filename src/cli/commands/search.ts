import type { SearchResult } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { formatRows } from "../table.ts";
import { truncate } from "../text.ts";

const COLUMNS = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADERS = { Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL" };

export const command: Command = {
  usage: "[OPTIONS] TERM",
  args: [1, 1],
  flags: [
    filterFlag,
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "limit", type: "int", help: "Most results" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
  ],
  description:
    "Asks Docker Hub, or the registry of HOST/TERM where it has the search of the old registry API. Filters: is-official, stars.",
  examples: [["inro search --filter is-official=true busybox", "Official images of that name"]],
  async run({ options, args, engine }) {
    const filters = toFilters(options.list("filter"));
    const auth = await engine().registryAuth(args[0]!);
    const results = await engine().json<SearchResult[]>("GET", "/images/search", {
      headers: auth ? { "X-Registry-Auth": auth } : {},
      query: {
        term: args[0]!,
        limit: options.number("limit"),
        filters: Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined,
      },
    });
    const json = options.string("format") === "json";
    const rows = results.map(({ name, description, star_count, is_official }) => {
      const words = description.replaceAll("\n", " ").replaceAll("\r", " ");
      return {
        Name: name,
        Description: options.bool("no-trunc") ? words : truncate(words, 45),
        StarCount: String(star_count),
        IsOfficial: json ? String(is_official) : is_official ? "[OK]" : "",
      };
    });
    await stdout.write(formatRows(options.string("format"), COLUMNS, rows, HEADERS));
    return 0;
  },
};
