import type { Filters } from "../client/engine.ts";
import type { Context } from "./command.ts";
import type { Flag } from "./flags.ts";

export const filterFlag: Flag = {
  name: "filter",
  short: "f",
  type: "list",
  value: "filter",
  parse: (text) => {
    if (!text.includes("=")) throw new Error("bad format of filter (expected name=value)");
    return text;
  },
  help: "Show only what matches (key=value)",
};

/** Of a prune: `-f` is its `--force`. */
export const pruneFilterFlag: Flag = {
  name: "filter",
  type: "list",
  value: "filter",
  parse: filterFlag.parse!,
  help: "",
};

/** `key=value` filters as the API's map; values of one key are collected. */
export function toFilters(values: readonly string[]): Filters {
  const filters: Filters = {};
  for (const value of values) {
    const equals = value.indexOf("=");
    const key = value.slice(0, equals).trim().toLowerCase();
    filters[key] = [...(filters[key] ?? []), value.slice(equals + 1).trim()];
  }
  return filters;
}

/** Filters of a prune: those of the command line, and those of config.json that do not contradict them. */
export function pruneFilters({ options, config }: Pick<Context, "options" | "config">): Filters {
  const filters = toFilters(options.list("filter"));
  for (const [key, values] of Object.entries(toFilters(config.pruneFilters ?? []))) {
    const opposite = key === "label" ? "label!" : key === "label!" ? "label" : "";
    const added = values.filter((value) => value !== "" && !filters[opposite]?.includes(value));
    if (added.length > 0) filters[key] = [...(filters[key] ?? []), ...added];
  }
  return filters;
}
