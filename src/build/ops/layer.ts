import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { chainId } from "../../base/digest.ts";
import type { StoredLayer } from "../../images/store.ts";
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
  const source = { path: ctx.content.path(diffId) };
  await ctx.layers.apply({ source, parents, diffId, signal: ctx.signal });
  return { diffId, blob: { mediaType: MEDIA.ociLayer, digest: diffId, size } };
}
