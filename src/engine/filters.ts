import { invalid } from "../base/errors.ts";
import type { Filters } from "./requests.ts";

const MAX_FILTERS = 1 << 16;

/**
 * The `filters` query parameter: JSON `{"key":{"value":true}}` or `{"key":["value"]}`. A key outside `known`, or anything
 * else than that shape, is invalid. Absent or empty: no filters.
 */
export function parseFilters(text: string | undefined, known: readonly string[]): Filters {
  const filters: Filters = new Map();
  if (!text) return filters;
  if (text.length > MAX_FILTERS) throw invalid("invalid filters: over 64 KiB");
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalid("invalid filters: not JSON", error);
  }
  if (parsed === null) return filters;
  if (typeof parsed !== "object" || Array.isArray(parsed)) throw invalid("invalid filters: not an object");
  for (const [key, value] of Object.entries(parsed)) {
    if (!known.includes(key)) throw invalid(`invalid filter '${key.slice(0, 100)}'`);
    filters.set(key, filterValues(key, value));
  }
  return filters;
}

function filterValues(key: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([item, on]) => (on === true ? [item] : []));
  }
  throw invalid(`invalid filter '${key}': want a list or a map of values`);
}

/** A filter that is true or false; undefined where it is absent. Another word, none, or both at once is invalid. */
export function readBoolean(filters: Filters, key: string): boolean | undefined {
  const values = filters.get(key);
  if (!values) return undefined;
  const isTrue = values.every((value) => value === "true" || value === "1");
  if (values.length > 0 && (isTrue || values.every((value) => value === "false" || value === "0"))) return isTrue;
  throw invalid(`invalid filter '${key}=[${values.join(" ").slice(0, 100)}]'`);
}
