import { Database } from "bun:sqlite";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { sha256 } from "../../base/digest.ts";
import { ContentStore } from "../../content/store.ts";
import { Layers } from "../../layers/layers.ts";
import { type TarMember, writeTar } from "../../layers/tar-write.ts";
import type { StreamMessage } from "../../spec/docker-api.ts";
import { type ImageConfig, MEDIA } from "../../spec/oci-image.ts";
import { Images, type ImagesOptions } from "../images.ts";
import { hostPlatform } from "../platform.ts";

/** A tar of these files: text, a symlink `{to}`, or a directory for a name that ends in a slash. */
export async function tarOf(files: Record<string, string | Uint8Array | { to: string }>): Promise<Buffer> {
  const members = Object.entries(files).map(([name, value]): TarMember => {
    const common = { name, mode: 0o644, uid: 0, gid: 0, mtime: 0n, size: 0 };
    if (name.endsWith("/")) return { header: { ...common, type: "directory", mode: 0o755 } };
    if (typeof value === "object" && "to" in value)
      return { header: { ...common, type: "symlink", linkname: value.to } };
    const body = Buffer.from(value as string);
    return { header: { ...common, type: "file", size: body.length }, body: [body] };
  });
  return Buffer.concat(await Array.fromAsync(writeTar(members)));
}

export interface SampleLayer {
  tar: Buffer;
  diffId: string;
  data: Buffer;
  mediaType: string;
}

/** A layer of these files in a form of storage. */
export async function layerOf(
  files: Record<string, string | Uint8Array | { to: string }>,
  form: "plain" | "gzip" | "zstd" = "gzip",
): Promise<SampleLayer> {
  const tar = await tarOf(files);
  const data = form === "gzip" ? gzipSync(tar) : form === "zstd" ? zstdCompressSync(tar) : tar;
  const mediaType = { plain: MEDIA.ociLayer, gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd }[form];
  return { tar, diffId: sha256(tar), data, mediaType };
}

export function configOf(layers: SampleLayer[], more: Partial<ImageConfig> = {}): ImageConfig {
  return {
    ...hostPlatform(),
    created: "2024-01-02T03:04:05Z",
    config: { Cmd: ["/bin/sh"], Env: ["A=b"] },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    ...more,
  };
}

/** An Images on temporary directories. */
export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), "inro-images-"));
  readonly content = new ContentStore(join(this.dir, "content"));
  readonly layers = new Layers(join(this.dir, "layers"));
  readonly images: Images;

  constructor(options: Partial<ImagesOptions> = {}) {
    const db = new Database(join(this.dir, "db"));
    const patience = { attempts: 3, retryDelay: 1, idle: 5000 };
    const { content, layers } = this;
    this.images = new Images({ db, content, layers, tempDir: this.dir, patience, ...options });
  }

  /** Blobs, layers, and what else lies about. */
  leftovers(): { blobs: number; layers: number; temporary: string[] } {
    return {
      blobs: this.content.list().length,
      layers: this.layers.list().length,
      temporary: readdirSync(this.dir).filter((name) => name.startsWith("inro-archive-")),
    };
  }

  close(): void {
    if (existsSync(this.dir)) rmSync(this.dir, { recursive: true, force: true });
  }
}

export const NOTHING = { blobs: 0, layers: 0, temporary: [] };

/** Collects messages; `lines` are `id: status`. */
export function recorder(): { onMessage(message: StreamMessage): void; messages: StreamMessage[]; lines(): string[] } {
  const messages: StreamMessage[] = [];
  return {
    messages,
    onMessage: (message) => messages.push(message),
    lines: () => messages.map(({ id, status, stream }) => [id, status ?? stream?.trimEnd()].filter(Boolean).join(": ")),
  };
}

/** A stream in pieces of `size` bytes. */
export async function* pieces(data: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

export const isRoot = process.getuid?.() === 0;
