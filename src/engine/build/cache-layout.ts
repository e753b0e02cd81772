import { createReadStream } from "node:fs";
import { type TarMember, writeTar } from "../../archive/tar.ts";
import { sha256 } from "../../base/digest.ts";
import { invalid, notFound } from "../../base/errors.ts";
import { CACHE_DOCUMENT, MAX_DOCUMENT, parseCacheDocument } from "../../build/transfer/document.ts";
import type { CacheSource } from "../../build/transfer/imported.ts";
import type { ContentStore } from "../../content/store.ts";
import { type ArtifactFile, manifestOf } from "../../images/artifacts.ts";
import { parseManifest } from "../../registry/manifest.ts";
import { type Descriptor, type Index, MEDIA } from "../../spec/oci-image.ts";
import type { CachePlace } from "./cache-options.ts";

/** A directory of a client's. */
export interface ClientFiles {
  /** Bytes of a file by its path; undefined where it has none. Hostile. */
  read(path: string): AsyncIterable<Uint8Array> | undefined;
}

type LocalCache = Extract<CachePlace, { type: "local" }>;

/** image-spec, annotations.md. */
const REF_NAME = "org.opencontainers.image.ref.name";
const MAX_MANIFEST = 4 << 20;

/** A cache in an OCI layout (image-spec, image-layout.md) of the client's. Errors are invalid and notFound. */
export async function openLayout(
  files: ClientFiles,
  { tag, digest }: LocalCache,
  content: ContentStore,
  signal: AbortSignal,
): Promise<CacheSource> {
  const blob = async (descriptor: Pick<Descriptor, "digest" | "size">, limit: number) => {
    const bytes = await whole(files, pathOf(descriptor.digest), limit, signal);
    if (sha256(bytes) !== descriptor.digest) throw invalid(`blob ${descriptor.digest} of the cache is damaged`);
    return bytes;
  };
  const parsed = parseManifest(await whole(files, "index.json", MAX_MANIFEST, signal), MEDIA.ociIndex);
  if (parsed.kind !== "index") throw invalid("index.json of the cache is no index");
  const found = parsed.index.manifests.find((one) =>
    digest === undefined ? one.annotations?.[REF_NAME] === tag : one.digest === digest,
  );
  if (!found) throw notFound(`there is no ${digest ?? `tag ${tag}`} in the cache`);
  const inner = parseManifest(await blob(found, MAX_MANIFEST), found.mediaType);
  if (inner.kind !== "manifest" || inner.manifest.config.mediaType !== CACHE_DOCUMENT) {
    throw invalid("it is no cache of inro's builds");
  }
  const { config, layers } = inner.manifest;
  const document = parseCacheDocument((await blob(config, MAX_DOCUMENT)).toString(), layers.length);
  const coming = new Map<string, Promise<void>>();
  const fetched = async (layer: Descriptor, signal: AbortSignal) => {
    if (content.has(layer.digest)) return;
    const bytes = files.read(pathOf(layer.digest));
    if (!bytes) throw notFound(`blob ${layer.digest} is not in the cache`);
    const writer = await content.writer(layer);
    try {
      await writer.truncate();
      for await (const chunk of bytes) {
        signal.throwIfAborted();
        await writer.write(chunk);
      }
      await writer.commit();
    } finally {
      await writer.abort();
    }
  };
  return {
    document,
    layers,
    async fetch(layer, signal) {
      const { digest } = layer;
      if (!coming.has(digest))
        coming.set(
          digest,
          fetched(layer, signal).finally(() => coming.delete(digest)),
        );
      await coming.get(digest);
    },
  };
}

const pathOf = (digest: string) => `blobs/${digest.replace(":", "/")}`;

async function whole(files: ClientFiles, path: string, limit: number, signal: AbortSignal): Promise<Buffer> {
  const bytes = files.read(path);
  if (!bytes) throw notFound(`the cache's directory has no ${path}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    signal.throwIfAborted();
    size += chunk.length;
    if (size > limit) throw invalid(`${path} of the cache has more than the ${limit} bytes that are allowed here`);
    chunks.push(chunk.slice());
  }
  return Buffer.concat(chunks);
}

/** The cache as a tar of such a directory, its index last: until it is there, what was before is whole. */
export function layoutTar(
  document: Buffer,
  layers: readonly ArtifactFile[],
  { tag }: LocalCache,
): AsyncGenerator<Uint8Array> {
  const config = { mediaType: CACHE_DOCUMENT, digest: sha256(document), size: document.length };
  const { bytes, descriptor } = manifestOf(config, layers, { artifactType: CACHE_DOCUMENT });
  const index: Index = {
    schemaVersion: 2,
    mediaType: MEDIA.ociIndex,
    manifests: [{ ...descriptor, annotations: { [REF_NAME]: tag } }],
  };
  const unique = new Map(layers.map((layer) => [layer.descriptor.digest, layer]));
  return writeTar([
    file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
    directory("blobs"),
    directory("blobs/sha256"),
    ...[...unique.values()].map(({ descriptor, path }) => ({
      header: header(pathOf(descriptor.digest), descriptor.size),
      body: createReadStream(path),
    })),
    file(pathOf(config.digest), document),
    file(pathOf(descriptor.digest), bytes),
    file("index.json", Buffer.from(JSON.stringify(index))),
  ]);
}

const header = (name: string, size: number) =>
  ({ name, type: "file", mode: 0o644, uid: 0, gid: 0, size, mtime: 0n }) as const;

const file = (name: string, bytes: Buffer): TarMember => ({ header: header(name, bytes.length), body: [bytes] });

const directory = (name: string): TarMember => ({
  header: { ...header(`${name}/`, 0), type: "directory", mode: 0o755 },
});
