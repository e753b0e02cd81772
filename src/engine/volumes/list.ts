import { readBoolean } from "../filters.ts";
import { labelsMatch, namePattern } from "../list-filters.ts";
import type { Filters } from "../requests.ts";
import type { VolumeRecord } from "../store.ts";

/** Keys of `filters` for the list of volumes and for prune. */
export const VOLUME_FILTERS = ["dangling", "driver", "label", "name"] as const;
export const VOLUME_PRUNE_FILTERS = ["all", "label", "label!"] as const;

/** A predicate of docker's meaning; `isUsed` says whether a container mounts a volume. Bad values are invalid. */
export function volumeFilter(filters: Filters, isUsed: (name: string) => boolean): (volume: VolumeRecord) => boolean {
  const names = filters.get("name")?.map(namePattern) ?? [];
  const drivers = filters.get("driver") ?? [];
  const dangling = readBoolean(filters, "dangling");
  return (volume) =>
    (names.length === 0 || names.some((test) => test(volume.name))) &&
    (drivers.length === 0 || drivers.includes("local")) &&
    (dangling === undefined || dangling !== isUsed(volume.name)) &&
    labelsMatch(volume.labels, filters);
}
