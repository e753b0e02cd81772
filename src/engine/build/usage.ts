import { statfsSync } from "node:fs";
import { parseDuration } from "../../base/duration.ts";
import { invalid } from "../../base/errors.ts";
import type { BuildCacheItem, BuildPruneResponse } from "../../spec/build.ts";
import type { Filters } from "../requests.ts";
import { parseUntil } from "../until.ts";

/** Something that builds keep. */
export interface CacheEntry {
  item: BuildCacheItem;
  /** Milliseconds since 1970. */
  used: number;
  /** Gone at once, its space a little later. */
  remove(): void | Promise<void>;
}

export interface PruneRequest {
  /** Also what is shared with images. */
  all: boolean;
  filters: Filters;
  /** Bytes that may stay; the least recently used goes first. */
  reserved?: number;
  max?: number;
  /** Bytes that are to be free on the file system. */
  free?: number;
}

export const BUILD_PRUNE_FILTERS = [
  "until",
  "unused-for",
  "id",
  "parent",
  "type",
  "description",
  "inuse",
  "shared",
  "private",
  "label",
  "label!",
] as const;

/** Removes entries, least recently used first, as far as the request says. */
export async function pruneEntries(
  entries: readonly CacheEntry[],
  request: PruneRequest,
  directory: string,
): Promise<BuildPruneResponse> {
  const matches = matcher(request.filters);
  const limited = request.reserved !== undefined || request.max !== undefined || request.free !== undefined;
  const keep = Math.max(request.reserved ?? 0, request.max ?? 0);
  let total = entries.reduce((sum, { item }) => sum + (item.Shared ? 0 : item.Size), 0);
  let wanted = request.free === undefined ? 0 : Math.max(0, request.free - freeBytes(directory));
  const enough = () =>
    limited && (request.max !== undefined || request.reserved !== undefined ? total <= keep : true) && wanted <= 0;
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const { item, remove } of [...entries].sort((a, b) => a.used - b.used)) {
    if (enough()) break;
    if (item.InUse || (item.Shared && !request.all) || !matches(item)) continue;
    await remove();
    deleted.push(item.ID);
    const size = item.Shared ? 0 : item.Size;
    reclaimed += size;
    total -= size;
    wanted -= size;
  }
  return { CachesDeleted: deleted.length > 0 ? deleted : null, SpaceReclaimed: reclaimed };
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

function matcher(filters: Filters): (item: BuildCacheItem) => boolean {
  const until = parseUntil(filters.get("until"));
  const unused = filters.get("unused-for")?.map((text) => {
    const seconds = parseDuration(text);
    if (seconds === undefined)
      throw invalid(`invalid filter unused-for: ${JSON.stringify(text.slice(0, 60))} is no duration`);
    return Date.now() - seconds * 1000;
  });
  const before = Math.min(until ?? Infinity, ...(unused ?? []));
  const flag = (key: string) => {
    const values = filters.get(key);
    if (!values) return undefined;
    return !/^(?:0|f|false)$/i.test(values[0] ?? "");
  };
  const [inUse, shared, alone] = [flag("inuse"), flag("shared"), flag("private")];
  const any = (key: string, test: (value: string) => boolean) => filters.get(key)?.some(test) ?? true;
  return (item) =>
    (before === Infinity || Date.parse(item.LastUsedAt ?? item.CreatedAt) < before) &&
    (inUse === undefined || item.InUse === inUse) &&
    (shared === undefined || item.Shared === shared) &&
    (alone === undefined || item.Shared !== alone) &&
    any("id", (value) => item.ID.startsWith(value)) &&
    any("parent", (value) => item.Parents?.includes(value) ?? false) &&
    any("type", (value) => item.Type === value) &&
    any("description", (value) => item.Description.includes(value)) &&
    !filters.has("label");
}
