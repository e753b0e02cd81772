import { parseDigest } from "../base/digest.ts";
import { digestsInChild } from "../layers/apply-command.ts";
import type { ImageStore } from "./store.ts";

/** What is not as it was stored. */
export interface Damage {
  kind: "blob" | "layer";
  /** Its digest, or chain id. */
  object: string;
  problem: string;
  repaired: boolean;
}

/**
 * Reads every blob and layer and compares them with their digests. With `repair` indexes are made anew, and what is
 * corrupt is dropped unless `isUsed` says that a container needs the layer: the next pull of its image brings it back.
 */
export async function verifyStore(
  store: ImageStore,
  options: { repair: boolean; isUsed(imageId: string): boolean },
): Promise<Damage[]> {
  const { content, layers, records } = store;
  const damages: Damage[] = [];
  for (const wanted of ["sha256", "sha512"] as const) {
    const blobs = content.list().filter(({ digest }) => parseDigest(digest).algorithm === wanted);
    const paths = blobs.map(({ digest }) => content.path(digest));
    for (const [i, found] of (await digestsInChild(paths, wanted)).entries()) {
      const { digest } = blobs[i]!;
      // It may have been removed meanwhile.
      if (found === digest || !content.has(digest)) continue;
      if (options.repair) content.delete(digest);
      damages.push({ kind: "blob", object: digest, problem: `it is corrupt: ${found}`, repaired: options.repair });
    }
  }
  const rows = records.ids().map((id) => records.get(id)!);
  const images = rows.map((row) => row.layers.map(({ diffId }) => diffId));
  for (const { chain, problem, repaired } of await layers.verify(images, options)) {
    const users = rows.filter((row) => row.layers.some(({ chainId }) => chainId === chain));
    const damage: Damage = { kind: "layer", object: chain, problem, repaired };
    damages.push(damage);
    if (!options.repair || repaired) continue;
    if (users.some(({ id }) => options.isUsed(id))) damage.problem += "; containers use it";
    else {
      layers.delete(chain);
      damage.repaired = true;
    }
  }
  return damages;
}
