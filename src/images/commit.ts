import type { ImageConfig } from "../spec/oci-image.ts";
import { MEDIA } from "../spec/oci-image.ts";
import { tagTarget } from "./find.ts";
import { Spool, storeFile } from "./spool.ts";
import type { ImageStore, StoredLayer } from "./store.ts";

export interface CommitOptions {
  /** Id of the image that the container was made of; it may have been removed. */
  parent: string;
  /** The plain tar of what the container did to it. */
  layer: AsyncIterable<Uint8Array>;
  config: NonNullable<ImageConfig["config"]>;
  /** The container's command, for the history. */
  createdBy: string;
  comment?: string | undefined;
  author?: string | undefined;
  repo?: string | undefined;
  tag?: string | undefined;
  signal: AbortSignal;
}

/** Two blocks of zeros: a tar without members. */
const EMPTY_TAR = 1024;

/** See Images.commit. */
export async function commit(store: ImageStore, tempDir: string | undefined, options: CommitOptions): Promise<string> {
  const { signal } = options;
  const targets = options.repo ? [tagTarget(options.repo, options.tag)] : [];
  const hold = store.holds.open();
  const spool = await Spool.open(tempDir);
  try {
    const parent = store.records.get(options.parent, true)!;
    for (const { chainId, blob } of parent.layers) {
      hold.chain(chainId);
      hold.blob(blob.digest);
    }
    const layers: StoredLayer[] = parent.layers.map(({ diffId, blob }) => ({ diffId, blob }));
    const file = await spool.add(options.layer, signal);
    const empty = file.size <= EMPTY_TAR;
    if (!empty) {
      await storeFile(store, file, hold, signal);
      layers.push({
        diffId: file.digest,
        blob: { mediaType: MEDIA.ociLayer, digest: file.digest, size: file.size },
      });
    }
    const created = new Date().toISOString();
    const { author, comment, createdBy } = options;
    const { architecture, os, variant, history = [] } = parent.config;
    const image: ImageConfig = {
      created,
      ...(author ? { author } : {}),
      architecture,
      os,
      ...(variant === undefined ? {} : { variant }),
      config: options.config,
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: [
        ...history,
        {
          created,
          created_by: createdBy,
          ...(author ? { author } : {}),
          ...(comment ? { comment } : {}),
          ...(empty ? { empty_layer: true } : {}),
        },
      ],
    };
    return await store.finish(JSON.stringify(image), layers, hold, { signal, targets });
  } finally {
    hold.release();
    await spool.close();
  }
}
