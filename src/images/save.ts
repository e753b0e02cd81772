import { type TarMember, writeTar } from "../layers/tar-write.ts";
import { type Descriptor, type Index, MEDIA, type Platform } from "../spec/oci-image.ts";
import { parseImageConfig } from "./config.ts";
import { findImage, tagTarget } from "./find.ts";
import type { ImageRow } from "./records.ts";
import { canonical, familiar, parseReference, type Reference, repositoryName } from "./reference.ts";
import type { ImageStore, StoredLayer } from "./store.ts";

/** An image to save and the names that were asked for; none when it was named by id or digest. */
interface Saved {
  row: ImageRow;
  names: Reference[];
}

/** See Images.save. Blobs are as stored and in the archive once; the times of all members are 0, so equal images give equal archives. */
export function save(store: ImageStore, names: string[], without?: ReadonlySet<string>): AsyncIterable<Uint8Array> {
  return archive(store, chosen(store, names), without);
}

/** See Images.savedIds. */
export const savedIds = (store: ImageStore, names: string[]): string[] => chosen(store, names).map(({ row }) => row.id);

/** See Images.blobs. */
export function savedBlobs(store: ImageStore, names: string[]): { digest: string; size: number }[] {
  const digests = new Set(chosen(store, names).flatMap(blobsOf));
  return [...digests].map((digest) => ({ digest, size: store.content.size(digest) }));
}

const blobsOf = ({ row }: Saved) => [row.id, row.manifest.digest, ...row.layers.map((layer) => layer.blob.digest)];

function chosen(store: ImageStore, names: string[]): Saved[] {
  const images = new Map<string, Saved>();
  for (const name of names) {
    for (const { id, reference } of select(store, name)) {
      const saved = images.get(id) ?? { row: store.records.get(id, true)!, names: [] };
      images.set(id, saved);
      const known = saved.names.some((other) => reference && canonical(other) === canonical(reference));
      if (reference?.tag !== undefined && !known) saved.names.push(reference);
    }
  }
  return [...images.values()];
}

/** Images that were made here: one a platform. */
export interface UnrecordedImages {
  images: readonly {
    config: string;
    layers: readonly StoredLayer[];
    /** Of its manifest. */
    annotations?: Record<string, string> | undefined;
  }[];
  tags: readonly string[];
  /** Of the index. */
  annotations?: Record<string, string> | undefined;
  signal: AbortSignal;
}

/** See Images.archive. */
export async function* saveUnrecorded(
  store: ImageStore,
  { images, tags, annotations, signal }: UnrecordedImages,
): AsyncGenerator<Uint8Array> {
  const names = tags.map((tag) => tagTarget(tag, undefined));
  const hold = store.holds.open();
  try {
    const saved: Saved[] = [];
    for (const { config, layers, annotations: own } of images) {
      const row = await store.prepare(config, [...layers], hold, { signal, annotations: own });
      saved.push({ row: { ...row, config: parseImageConfig(config) }, names });
    }
    yield* archive(store, saved, undefined, annotations);
  } finally {
    hold.release();
  }
}

/** A name without tag stands for all tags of its repository. */
function select({ records }: ImageStore, text: string): { id: string; reference?: Reference }[] {
  let bare: Reference | undefined;
  try {
    const reference = parseReference(text);
    if (reference.tag === undefined && reference.digest === undefined) bare = reference;
  } catch {}
  const tags = bare ? records.tagsOf(repositoryName(bare)) : [];
  if (tags.length > 0) return tags.map(({ image, tag }) => ({ id: image, reference: { ...bare!, tag } }));
  const { id, reference } = findImage(records, text);
  return [reference?.digest === undefined && reference ? { id, reference } : { id }];
}

/** `without`: what its reader has; the archive is then an OCI layout alone. */
async function* archive(
  store: ImageStore,
  images: Saved[],
  without?: ReadonlySet<string>,
  annotations?: Record<string, string>,
): AsyncGenerator<Uint8Array> {
  const hold = store.holds.open();
  try {
    const blobs = images.flatMap(blobsOf);
    for (const blob of blobs) hold.blob(blob);
    yield* writeTar(members(store, images, [...new Set(blobs)].sort(), without, annotations));
  } finally {
    hold.release();
  }
}

function* members(
  { content }: ImageStore,
  images: Saved[],
  blobs: string[],
  without: ReadonlySet<string> | undefined,
  annotations: Record<string, string> | undefined,
): Generator<TarMember> {
  yield directory("blobs/");
  let algorithm = "";
  for (const digest of blobs) {
    if (without?.has(digest)) continue;
    const path = blobPath(digest);
    if (!path.startsWith(`blobs/${algorithm}/`)) {
      algorithm = path.split("/")[1]!;
      yield directory(`blobs/${algorithm}/`);
    }
    yield { header: { ...FILE, name: path, size: content.size(digest) }, body: content.stream(digest) };
  }
  yield document("index.json", { ...indexOf(images), ...(annotations ? { annotations } : {}) });
  if (!without) {
    yield document(
      "manifest.json",
      images.map(({ row, names }) => ({
        Config: blobPath(row.id),
        RepoTags: names.length > 0 ? names.map(familiar) : null,
        Layers: row.layers.map((layer) => blobPath(layer.blob.digest)),
      })),
    );
  }
  yield document("oci-layout", { imageLayoutVersion: "1.0.0" });
}

function indexOf(images: Saved[]): Index {
  const manifests = images.flatMap(({ row, names }): Descriptor[] => {
    const { architecture, os, variant } = row.config;
    const platform: Platform = { architecture, os, ...(variant === undefined ? {} : { variant }) };
    const descriptor: Descriptor = { ...row.manifest, platform };
    if (names.length === 0) return [descriptor];
    return names.map((name) => ({
      ...descriptor,
      annotations: { "io.containerd.image.name": canonical(name), "org.opencontainers.image.ref.name": name.tag! },
    }));
  });
  return { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests };
}

const FILE = { type: "file", mode: 0o644, uid: 0, gid: 0, mtime: 0n } as const;

const blobPath = (digest: string) => `blobs/${digest.replace(":", "/")}`;

function directory(name: string): TarMember {
  return { header: { ...FILE, type: "directory", mode: 0o755, name, size: 0 } };
}

function document(name: string, value: unknown): TarMember {
  const body = Buffer.from(JSON.stringify(value));
  return { header: { ...FILE, name, size: body.length }, body: [body] };
}
