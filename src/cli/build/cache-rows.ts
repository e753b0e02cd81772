import type { BuildCacheItem } from "../../spec/build.ts";
import { ago, humanSize } from "../human.ts";
import type { Row } from "../table.ts";

/** The forms of API 1.52 and of those before. */
export interface BuildCacheAnswer {
  BuildCache?: BuildCacheItem[] | null;
  BuildCacheUsage?: { Items?: BuildCacheItem[] };
}

export function buildCacheOf(answer: BuildCacheAnswer): BuildCacheItem[] {
  return answer.BuildCacheUsage?.Items ?? answer.BuildCache ?? [];
}

/** Bytes of all of it, and of what a prune would free. */
export function cacheSizes(items: readonly BuildCacheItem[]): { total: number; free: number } {
  const sum = (some: readonly BuildCacheItem[]) => some.reduce((total, { Size }) => total + Size, 0);
  return { total: sum(items), free: sum(items.filter(({ InUse, Shared }) => !InUse && !Shared)) };
}

export function cacheRow(item: BuildCacheItem, short: boolean): Row {
  return {
    ID: short ? `${item.ID.slice(0, 12)}${item.InUse ? "*" : ""}` : item.ID,
    Parent: item.Parents?.[0] ?? "",
    CacheType: item.Type,
    Description: item.Description,
    Size: humanSize(item.Size),
    CreatedSince: ago(Date.parse(item.CreatedAt) / 1000),
    CreatedAt: item.CreatedAt,
    LastUsedSince: item.LastUsedAt ? ago(Date.parse(item.LastUsedAt) / 1000) : "",
    LastUsedAt: item.LastUsedAt ?? "",
    UsageCount: String(item.UsageCount),
    InUse: String(item.InUse),
    Shared: String(item.Shared),
  };
}
