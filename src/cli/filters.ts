import type { Filters } from "../client/engine.ts";
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
