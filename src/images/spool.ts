import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { release } from "../base/release.ts";
import type { ContentStore } from "../content/store.ts";
import { detectCompression } from "../layers/compression.ts";
import { type Descriptor, MEDIA } from "../spec/oci-image.ts";
import type { Hold } from "./holds.ts";
import type { ImageStore } from "./store.ts";

/** A file of a spool: what came in, and its sha256. */
export interface SpooledFile {
  path: string;
  digest: string;
  size: number;
}

/** A temporary directory for what must be read to its end before it can be used. The caller closes it. */
export class Spool {
  private count = 0;

  private constructor(private readonly dir: string) {}

  static async open(parent?: string): Promise<Spool> {
    return new Spool(await mkdtemp(join(parent ?? tmpdir(), "inro-archive-")));
  }

  async add(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<SpooledFile> {
    const path = join(this.dir, String(this.count++));
    const file = await open(path, "wx", 0o600);
    try {
      const hash = createHash("sha256");
      let size = 0;
      for await (const chunk of source) {
        signal?.throwIfAborted();
        await file.writeFile(chunk);
        hash.update(chunk);
        size += chunk.length;
        release(chunk);
      }
      return { path, digest: `sha256:${hash.digest("hex")}`, size };
    } finally {
      await file.close();
    }
  }

  /** The path of a file that the caller makes. */
  path(name: string): string {
    return join(this.dir, name);
  }

  /** Removes a file before the spool is closed. */
  drop(path: string): Promise<void> {
    return rm(path, { force: true });
  }

  close(): Promise<void> {
    return rm(this.dir, { recursive: true, force: true });
  }
}

/** Puts a stream with a known digest into the content store, held; one that does not fit the digest is invalid. */
export async function storeBlob(
  { content, downloads }: ImageStore,
  blob: { digest: string; size: number; source: AsyncIterable<Uint8Array> },
  hold: Hold,
  signal: AbortSignal,
): Promise<void> {
  hold.blob(blob.digest);
  if (content.has(blob.digest)) return;
  await downloads.run(blob.digest, { signal, onEvent: () => {} }, async (flight) => {
    if (content.has(blob.digest)) return;
    const writer = await content.writer({ digest: blob.digest, size: blob.size });
    try {
      await writer.truncate();
      for await (const chunk of blob.source) {
        flight.throwIfAborted();
        await writer.write(chunk);
        release(chunk);
      }
      await writer.commit();
    } finally {
      await writer.abort();
    }
  });
}

/** Puts a spooled file into the content store, held. */
export async function storeFile(store: ImageStore, file: SpooledFile, hold: Hold, signal: AbortSignal): Promise<void> {
  hold.blob(file.digest);
  if (await store.content.linkFrom(file.path, file.digest)) return;
  const source = createReadStream(file.path, { highWaterMark: 1 << 20 });
  await storeBlob(store, { ...file, source }, hold, signal).finally(() => source.destroy());
}

/** Descriptor of a stored layer; its media type is what its first bytes say. */
export async function layerDescriptor(content: ContentStore, digest: string): Promise<Descriptor> {
  const file = await open(content.path(digest), "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    const compression = detectCompression(buffer.subarray(0, bytesRead));
    const types = { gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd } as Record<string, string>;
    return { mediaType: types[compression] ?? MEDIA.ociLayer, digest, size: content.size(digest) };
  } finally {
    await file.close();
  }
}
