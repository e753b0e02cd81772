import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Paths } from "../paths.ts";
import type { Store, VolumeRecord } from "../store.ts";
import type { Trash } from "../trash.ts";

/**
 * Where a volume's data is, and how it gets there:
 *
 *     <volumes>/<name>/_data       the volume
 *     <volumes>/.new-<hex>/_data   being made; no volume's name begins with a dot
 *
 * Data that was made or moved is recorded first (`dataAt`) and put into its place then, so that an engine killed at any
 * moment is followed by one that finds the whole of it: either the old data or the new.
 */
export interface Places {
  readonly store: Store;
  readonly paths: Paths;
  readonly trash: Trash;
}

const NEW = ".new-";

/** Makes the directory of data that is yet to be; its `_data` is the caller's to make. */
export function newPlace({ paths }: Places): string {
  const name = `${NEW}${randomBytes(8).toString("hex")}`;
  mkdirSync(join(paths.volumes, name), 0o700);
  return name;
}

/**
 * Puts the data of `record` where it belongs; what is there goes. The record is in the store, and on the disk. Gives the
 * record without the intent, whose end is on the disk after the next {@link Store.sync}.
 */
export async function place({ store, paths, trash }: Places, record: VolumeRecord): Promise<VolumeRecord> {
  const { dataAt, ...settled } = record;
  if (dataAt === undefined) return record;
  const from = join(paths.volumes, dataAt);
  // Not there: it was moved already.
  if (existsSync(from)) {
    const to = join(paths.volumes, record.name);
    if (existsSync(to)) trash.discard(to);
    renameSync(from, to);
    await syncDirectory(paths.volumes);
  }
  store.updateVolume(settled);
  return settled;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** After a crash: finishes what was recorded, and removes what was not. */
export async function settlePlaces(places: Places): Promise<void> {
  for (const record of places.store.volumes()) await place(places, record);
  for (const name of readdirSync(places.paths.volumes)) {
    if (name.startsWith(NEW)) places.trash.discard(join(places.paths.volumes, name));
  }
}
