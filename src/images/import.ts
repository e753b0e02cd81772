import { chainId } from "../base/digest.ts";
import { unavailable } from "../base/errors.ts";
import { detectCompression } from "../layers/compression.ts";
import { PATIENCE, send } from "../registry/http.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { decompressAny, peek } from "./decompress.ts";
import { tagTarget } from "./find.ts";
import { hostPlatform, parsePlatform } from "./platform.ts";
import { layerDescriptor, Spool, storeFile } from "./spool.ts";
import { checkOs, type ImageStore } from "./store.ts";

export interface ImportOptions {
  /** Tar of a root file system: plain, gzip, zstd, bzip2 or xz; or where it is got, by http or https. */
  source: AsyncIterable<Uint8Array> | URL;
  repo?: string;
  tag?: string;
  message?: string;
  /** What containers of the image start with. */
  config?: ImageConfig["config"];
  platform?: string;
  signal?: AbortSignal;
}

/** See Images.importTar. */
export async function importTar(
  store: ImageStore,
  tempDir: string | undefined,
  options: ImportOptions,
): Promise<string> {
  const targets = options.repo ? [tagTarget(options.repo, options.tag)] : [];
  const platform = options.platform ? parsePlatform(options.platform) : hostPlatform();
  const config = options.config ?? {};
  checkOs({ ...platform, rootfs: { type: "layers", diff_ids: [] } });
  const signal = options.signal ?? new AbortController().signal;
  const hold = store.holds.open();
  const spool = await Spool.open(tempDir);
  try {
    const { head, whole } = await peek(await opened(options.source, signal));
    const compression = detectCompression(head);
    // Layers are plain, gzip or zstd: what is that is stored as it came.
    const foreign = compression === "bzip2" || compression === "xz";
    const file = await spool.add(foreign ? decompressAny(whole) : whole, signal);
    const { diffId } = await store.layers.apply({ source: { path: file.path }, parents: [], signal });
    hold.chain(chainId([diffId]));
    await storeFile(store, file, hold, signal);
    const created = new Date().toISOString();
    const image: ImageConfig = {
      created,
      ...platform,
      config,
      rootfs: { type: "layers", diff_ids: [diffId] },
      history: [
        {
          created,
          comment: options.message || `Imported from ${options.source instanceof URL ? shown(options.source) : "-"}`,
        },
      ],
    };
    const layer = { diffId, blob: await layerDescriptor(store.content, file.digest) };
    return await store.finish(JSON.stringify(image), [layer], hold, { signal, targets });
  } finally {
    hold.release();
    await spool.close();
  }
}

async function opened(source: ImportOptions["source"], signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  if (!(source instanceof URL)) return source;
  const answer = await send({ method: "GET", url: source, headers: {}, signal }, PATIENCE.idle);
  if (answer.status === 200) return answer.chunks();
  answer.discard();
  throw unavailable(`import from ${shown(source).slice(0, 200)}: the server answered with status ${answer.status}`);
}

/** Without what may be a secret. */
const shown = ({ origin, pathname }: URL) => `${origin}${pathname}`;
