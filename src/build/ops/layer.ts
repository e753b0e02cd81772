import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { chainId } from "../../base/digest.ts";
import type { StoredLayer } from "../../images/store.ts";
import { removeInChild } from "../../layers/apply-command.ts";
import * as k from "../../linux/constants.ts";
import { close, type Name, openat, readdir, statat } from "../../linux/file.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import type { Snapshot, StepContext } from "../step.ts";

/** Two blocks of zeros: a tar without members. */
const EMPTY_TAR = 1024;

/**
 * Stores a layer's plain tar under its diffID, on top of `base`, and has it ready for use. `directory` is the step's own,
 * for the tar until its digest is known. Undefined when it has no members.
 */
export async function storeLayer(
  tar: AsyncIterable<Uint8Array>,
  base: Snapshot,
  directory: string,
  ctx: StepContext,
): Promise<StoredLayer | undefined> {
  const path = join(directory, "layer.tar");
  const hash = createHash("sha256");
  let size = 0;
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of tar) {
      ctx.signal.throwIfAborted();
      await file.writeFile(chunk);
      hash.update(chunk);
      size += chunk.length;
    }
  } finally {
    await file.close();
  }
  if (size <= EMPTY_TAR) return undefined;
  const diffId = `sha256:${hash.digest("hex")}`;
  ctx.hold.blob(diffId);
  if (!ctx.content.has(diffId)) await ctx.content.adopt(path, diffId);
  const parents = base.layers.map((layer) => layer.diffId);
  ctx.hold.chain(chainId([...parents, diffId]));
  const source = { path: ctx.content.path(diffId), digest: diffId };
  await ctx.layers.apply({ source, parents, diffId, signal: ctx.signal });
  return { diffId, blob: { mediaType: MEDIA.ociLayer, digest: diffId, size } };
}

/** Removes a step's directory: a process of its own is for those that hold much. */
export async function removeDirectory(parent: string, name: string): Promise<void> {
  if (isSmall(parent, name)) await rm(join(parent, name), { recursive: true, force: true });
  else await removeInChild(parent, [name]);
}

const SMALL_ENTRIES = 128;
const SMALL_BYTES = 1 << 20;

/** Whether the tree `name` in the directory `parent` has few entries and few bytes. Nobody else may change it. */
export function isSmall(parent: string, name: string): boolean {
  let entries = SMALL_ENTRIES;
  let bytes = SMALL_BYTES;
  const fits = (above: number, name: Name): boolean => {
    const fd = openat(above, name, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    try {
      for (const entry of readdir(fd)) {
        if (--entries < 0) return false;
        const { mode, size } = statat(fd, entry.name);
        const type = mode & k.S_IFMT;
        if (type === k.S_IFREG) bytes -= size;
        if (bytes < 0 || (type === k.S_IFDIR && !fits(fd, entry.name))) return false;
      }
      return true;
    } finally {
      close(fd);
    }
  };
  const fd = openat(k.AT_FDCWD, parent, k.O_RDONLY | k.O_DIRECTORY);
  try {
    return fits(fd, name);
  } finally {
    close(fd);
  }
}
