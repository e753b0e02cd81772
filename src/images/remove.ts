import { conflict } from "../base/errors.ts";
import { type Found, findImage, noSuchImage } from "./find.ts";
import type { DigestRow, TagRow } from "./records.ts";
import { familiar, repositoryName, splitRepository } from "./reference.ts";
import type { ImageStore } from "./store.ts";

/** A container that was made from an image. */
export interface ImageUser {
  id: string;
  running: boolean;
}

export interface RemoveOptions {
  force?: boolean;
  /** No images without names are left as parents here, so this changes nothing. */
  noprune?: boolean;
  users(imageId: string): ImageUser[];
}

export type Removal = { Untagged?: string; Deleted?: string }[];

const short = (id: string) => id.replace(/^sha256:/, "").slice(0, 12);

/**
 * Docker's rmi: a name is untagged, and its last name takes the image with it; an id takes all names, when they are of
 * one repository or with `force`. conflict when containers use the image (running ones in spite of `force`).
 * An image removed by force under a stopped container disappears from sight; its layers stay until the container goes
 * ({@link collectRemoved}).
 */
export function removeImage(store: ImageStore, text: string, options: RemoveOptions): Removal {
  const { records } = store;
  const found = findImage(records, text);
  if (!records.get(found.id)) throw noSuchImage(text);
  const removal: Removal = [];
  if (found.reference) {
    if (removeReference(store, found, text, options, removal)) return removal;
    // What had this name only goes, but quietly stays untagged when something still needs it.
    if (blocker(store, found.id, options)) return removal;
  } else {
    const names = [...records.tags(found.id), ...records.digests(found.id)];
    const blocked = blocker(store, found.id, options) ?? (options.force || isSingle(names) ? undefined : "several");
    if (blocked === "several") {
      throw conflict(
        `conflict: unable to delete ${short(found.id)} (must be forced) - image is referenced in multiple repositories`,
      );
    }
    if (blocked) throw conflict(blocked);
  }
  removal.push(...untagAll(store, found.id));
  removal.push(...forget(store, found.id, options));
  return removal;
}

/** Untags one name; true when the image keeps others and is done with. */
function removeReference(
  store: ImageStore,
  found: Found,
  text: string,
  options: RemoveOptions,
  removal: Removal,
): boolean {
  const { records } = store;
  const { id } = found;
  const reference = found.reference!;
  const [user] = options.users(id);
  if (!options.force && user && isSingle([...records.tags(id), ...records.digests(id)])) {
    throw conflict(
      `conflict: unable to remove repository reference "${text}" (must force) - container ${short(user.id)} is using its referenced image ${short(id)}`,
    );
  }
  const repository = repositoryName(reference);
  const untagged = (row: TagRow | DigestRow) => removal.push({ Untagged: nameOf(row) });
  records.transaction(() => {
    if (reference.digest === undefined) {
      records.removeTag(repository, reference.tag!);
      untagged({ repository, tag: reference.tag!, image: id });
      if (records.tags(id).some((row) => row.repository === repository)) return;
    } else if (reference.digest === id) {
      for (const row of records.tags(id).filter((tag) => tag.repository === repository)) {
        records.removeTag(repository, row.tag);
        untagged(row);
      }
    }
    // The digests of a repository go with its last tag, or one by one when named.
    for (const row of records.digests(id)) {
      const named = reference.digest === undefined || reference.digest === row.digest || reference.digest === id;
      if (row.repository !== repository || !named) continue;
      records.removeDigest(repository, row.digest, id);
      untagged(row);
    }
  });
  return records.tags(id).length + records.digests(id).length > 0;
}

/** Why the image may not be deleted, in docker's words. */
function blocker(store: ImageStore, id: string, { users, force }: RemoveOptions): string | undefined {
  if (!store.records.get(id)) return undefined;
  const using = users(id);
  const running = using.find((user) => user.running);
  if (running) {
    return `conflict: unable to delete ${short(id)} (cannot be forced) - image is being used by running container ${short(running.id)}`;
  }
  const [stopped] = using;
  if (!stopped || force) return undefined;
  return `conflict: unable to delete ${short(id)} (must be forced) - image is being used by stopped container ${short(stopped.id)}`;
}

/** All names in one repository, with at most one tag. */
function isSingle(names: (TagRow | DigestRow)[]): boolean {
  if (names.length <= 1) return true;
  return names.filter((name) => "tag" in name).length <= 1 && new Set(names.map((name) => name.repository)).size === 1;
}

function untagAll({ records }: ImageStore, id: string): Removal {
  return [...records.tags(id), ...records.digests(id)].map((row) => ({ Untagged: nameOf(row) }));
}

function forget(store: ImageStore, id: string, { users }: RemoveOptions): Removal {
  const row = store.records.get(id, true);
  if (!row) return [];
  const inUse = users(id).length > 0;
  store.records.remove(id, inUse);
  if (inUse) return [{ Deleted: id }];
  const chains = store.holds.sweep(
    [row.id, row.manifest.digest, ...row.layers.map((layer) => layer.blob.digest)],
    row.layers.map((layer) => layer.chainId).reverse(),
  );
  return [{ Deleted: id }, ...chains.map((chain) => ({ Deleted: chain }))];
}

/** Deletes what {@link removeImage} left for containers that are gone by now. */
export function collectRemoved(store: ImageStore, users: RemoveOptions["users"]): void {
  for (const id of store.records.ids(true)) if (users(id).length === 0) forget(store, id, { users });
}

export function nameOf(row: TagRow | DigestRow): string {
  const parts = splitRepository(row.repository);
  return familiar("tag" in row ? { ...parts, tag: row.tag } : { ...parts, digest: row.digest });
}
