import { isDigest } from "../base/digest.ts";
import { InroError, invalid } from "../base/errors.ts";
import { checkImageManifest, parseManifest } from "../registry/manifest.ts";
import { MAX_MANIFEST } from "../registry/repository.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import { type Descriptor, MEDIA } from "../spec/oci-image.ts";
import { ImageArchive } from "./archive.ts";
import { MAX_CONFIG, parseImageConfig } from "./config.ts";
import { decompressAny } from "./decompress.ts";
import type { Hold } from "./holds.ts";
import { choosePlatform, hostPlatform } from "./platform.ts";
import { Progress } from "./progress.ts";
import type { ImageRow } from "./records.ts";
import { familiar, parseReference, type Reference, repositoryName, withDefaultTag } from "./reference.ts";
import { layerDescriptor, Spool } from "./spool.ts";
import { checkOs, type ImageStore, type StoredLayer } from "./store.ts";

interface Loading {
  store: ImageStore;
  hold: Hold;
  progress: Progress;
  signal: AbortSignal;
}

interface LoadedImage {
  row: Omit<ImageRow, "config">;
  names: Reference[];
}

const MAX_IMAGES = 1000;
const MAX_INDEX_DEPTH = 4;

/** See Images.load. Answers the ids. */
export async function load(
  store: ImageStore,
  tempDir: string | undefined,
  options: { source: AsyncIterable<Uint8Array>; onMessage(message: StreamMessage): void; signal?: AbortSignal },
): Promise<string[]> {
  const signal = options.signal ?? new AbortController().signal;
  const hold = store.holds.open();
  const spool = await Spool.open(tempDir);
  try {
    const loading = { store, hold, signal, progress: new Progress(options.onMessage) };
    const archive = await ImageArchive.read(decompressAny(options.source), { store, spool, hold, signal });
    const images = archive.has("manifest.json")
      ? await dockerArchive(archive, loading)
      : await ociLayout(archive, loading);
    await store.layers.sync();
    signal.throwIfAborted();
    store.records.transaction(() => {
      for (const { row, names } of images) {
        store.records.add(row);
        for (const name of names) store.records.setTag(repositoryName(name), name.tag!, row.id);
      }
    });
    for (const { row, names } of images) {
      for (const name of names) options.onMessage({ stream: `Loaded image: ${familiar(name)}\n` });
      if (names.length === 0) options.onMessage({ stream: `Loaded image ID: ${row.id}\n` });
    }
    return images.map(({ row }) => row.id);
  } finally {
    hold.release();
    await spool.close();
  }
}

/** `manifest.json`: [{Config, RepoTags, Layers}], paths in the archive (docker save, before and since version 25). */
async function dockerArchive(archive: ImageArchive, loading: Loading): Promise<LoadedImage[]> {
  const entries = json(await archive.bytes("manifest.json", MAX_MANIFEST), "manifest.json");
  if (!Array.isArray(entries) || entries.length > MAX_IMAGES)
    throw invalid("image archive: manifest.json is not a list of images");
  const images: LoadedImage[] = [];
  for (const entry of entries) {
    const { Config, RepoTags, Layers } = Object(entry) as Record<string, unknown>;
    if (typeof Config !== "string") throw invalid("image archive: manifest.json names no Config");
    const layers = texts(Layers, "Layers");
    const names = texts(RepoTags, "RepoTags").map(loadedName);
    const configText = (await archive.bytes(Config, MAX_CONFIG)).toString();
    const config = parseImageConfig(configText);
    checkOs(config);
    if (layers.length !== config.rootfs.diff_ids.length) {
      throw invalid(
        `invalid manifest, layers length mismatch: expected ${config.rootfs.diff_ids.length}, got ${layers.length}`,
      );
    }
    const stored: StoredLayer[] = [];
    for (const [index, path] of layers.entries()) {
      const blob = await layerDescriptor(loading.store.content, await archive.stored(path));
      stored.push({ blob, diffId: config.rootfs.diff_ids[index]! });
    }
    images.push({ row: await prepare(configText, stored, loading), names });
  }
  return images;
}

/** An OCI image layout (image-spec image-layout.md). */
async function ociLayout(archive: ImageArchive, loading: Loading): Promise<LoadedImage[]> {
  if (!archive.has("index.json")) throw invalid("not an image archive: it holds neither manifest.json nor index.json");
  const root = parseManifest(await archive.bytes("index.json", MAX_MANIFEST), MEDIA.ociIndex);
  if (root.kind !== "index" || root.index.manifests.length > MAX_IMAGES)
    throw invalid("image archive: index.json is not an index");
  const images = new Map<string, LoadedImage>();
  for (const entry of root.index.manifests) {
    const names = layoutNames(entry);
    const row = await layoutImage(archive, entry, loading);
    const known = images.get(row.id);
    if (known) known.names.push(...names);
    else images.set(row.id, { row, names });
  }
  return [...images.values()];
}

async function layoutImage(archive: ImageArchive, entry: Descriptor, loading: Loading): Promise<LoadedImage["row"]> {
  const { store, hold } = loading;
  let descriptor = entry;
  for (let depth = 0; depth < MAX_INDEX_DEPTH; depth++) {
    const bytes = await archive.blob(descriptor.digest, MAX_MANIFEST);
    const parsed = parseManifest(bytes, descriptor.mediaType);
    if (parsed.kind === "index") {
      descriptor = choosePlatform(parsed.index.manifests, hostPlatform(), false);
      continue;
    }
    checkImageManifest(parsed.manifest);
    const configText = (await archive.blob(parsed.manifest.config.digest, MAX_CONFIG)).toString();
    const config = parseImageConfig(configText);
    const { layers } = parsed.manifest;
    if (layers.length !== config.rootfs.diff_ids.length) {
      throw invalid(`image config names ${config.rootfs.diff_ids.length} layers, the manifest ${layers.length}`);
    }
    for (const layer of layers) await archive.stored(`blobs/${layer.digest.replace(":", "/")}`);
    const stored = layers.map((blob, index) => ({ blob, diffId: config.rootfs.diff_ids[index]! }));
    const row = await prepare(configText, stored, loading);
    if (descriptor.digest === row.manifest.digest || !descriptor.digest.startsWith("sha256:")) return row;
    // The manifest as it came, so that its digest stays.
    hold.blob(descriptor.digest);
    const { digest, size } = await store.content.put(bytes);
    return { ...row, manifest: { mediaType: parsed.manifest.mediaType ?? MEDIA.ociManifest, digest, size } };
  }
  throw invalid(`image archive: indexes nested deeper than ${MAX_INDEX_DEPTH}`);
}

async function prepare(configText: string, layers: StoredLayer[], { store, hold, progress, signal }: Loading) {
  const onProgress = ({ blob, diffId }: StoredLayer, bytes: number) =>
    progress.advance("Loading layer", diffId.slice(7, 19), Math.min(bytes, blob.size), blob.size);
  return store.prepare(configText, layers, hold, { signal, onProgress });
}

/** The name of a layout's entry: containerd's annotation, else the standard one where it is a whole name. */
function layoutNames({ annotations = {} }: Descriptor): Reference[] {
  const name = annotations["io.containerd.image.name"];
  if (name !== undefined) return [loadedName(name)];
  const refName = annotations["org.opencontainers.image.ref.name"];
  if (refName === undefined || !/[:/]/.test(refName)) return [];
  try {
    return [loadedName(refName)];
  } catch (error) {
    if (error instanceof InroError) return [];
    throw error;
  }
}

function loadedName(text: string): Reference {
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest !== undefined || isDigest(text))
    throw invalid(`image archive: ${JSON.stringify(text)} is not a tag`);
  return reference;
}

function json(bytes: Buffer, name: string): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw invalid(`image archive: ${name} is not JSON`, error);
  }
}

function texts(value: unknown, field: string): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_IMAGES || !value.every((item) => typeof item === "string")) {
    throw invalid(`image archive: ${field} in manifest.json is not a list of texts`);
  }
  return value;
}
