import { createReadStream } from "node:fs";
import { sha256 } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { Slots } from "../base/slots.ts";
import { download } from "../registry/download.ts";
import { originOf } from "../registry/endpoint.ts";
import { PATIENCE } from "../registry/http.ts";
import { parseManifest } from "../registry/manifest.ts";
import { uploadBytes } from "../registry/referrers.ts";
import { Repository } from "../registry/repository.ts";
import { locate, upload } from "../registry/upload.ts";
import { type Descriptor, type Index, type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";
import type { AskOptions } from "./distribution.ts";
import type { PullContext } from "./pull.ts";
import { parseReference, withDefaultTag } from "./reference.ts";
import { repositoriesOf } from "./repositories.ts";
import { firstOf } from "./resolve.ts";

const PARALLEL = 3;
const CHUNK = 1 << 18;

/** A manifest at a registry that need not be an image's. */
export interface OpenArtifact {
  readonly manifest: Manifest;
  /** At most `limit` bytes of the config; more is invalid. */
  config(limit: number, signal: AbortSignal): Promise<Buffer>;
  /** Puts a layer into the content store, verified; the caller holds it. */
  fetch(layer: Descriptor, signal: AbortSignal): Promise<void>;
}

/** Images of more platforms than anybody builds at once. */
const MAX_MANIFESTS = 32;

/** See Images.openArtifacts. */
export async function openArtifacts(
  { store, registries, patience = PATIENCE }: PullContext,
  { reference: text, auth, signal }: AskOptions,
): Promise<OpenArtifact[]> {
  const reference = withDefaultTag(parseReference(text));
  const repositories = repositoriesOf(reference, registries, auth, patience);
  const open = async (wanted: string, nested: boolean): Promise<OpenArtifact[]> => {
    const { value, from } = await firstOf(repositories, (one) => one.manifest(wanted, signal));
    const parsed = parseManifest(value.bytes, value.mediaType);
    if (parsed.kind === "index") {
      if (nested) throw invalid(`${text.slice(0, 300)} is an index of indexes`);
      // What has no platform is about an image, and none.
      const images = parsed.index.manifests.filter(({ platform }) => platform && platform.os !== "unknown");
      if (images.length > MAX_MANIFESTS) throw invalid(`${text.slice(0, 300)} has more than ${MAX_MANIFESTS} images`);
      return (await Promise.all(images.map(({ digest }) => open(digest, true)))).flat();
    }
    const { manifest } = parsed;
    return [
      {
        manifest,
        config: (limit, inner) => from[0]!.smallBlob(manifest.config, limit, inner),
        async fetch(layer, inner) {
          if (store.content.has(layer.digest)) return;
          await store.downloads.run(layer.digest, { signal: inner, onEvent: () => {} }, async (flight) => {
            if (store.content.has(layer.digest)) return;
            await download({ repositories: from, descriptor: layer, content: store.content, patience, signal: flight });
          });
        },
      },
    ];
  };
  return await open(reference.digest ?? reference.tag!, false);
}

/** A blob to be pushed: a file of these bytes. */
export interface ArtifactFile {
  readonly descriptor: Descriptor;
  readonly path: string;
}

/** Bytes of a manifest of these, and its descriptor. */
export function manifestOf(
  config: Descriptor,
  layers: readonly ArtifactFile[],
  more: Pick<Manifest, "artifactType" | "annotations"> = {},
): { bytes: Buffer; descriptor: Descriptor } {
  const { artifactType, annotations } = more;
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    ...(artifactType === undefined ? {} : { artifactType }),
    config,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(annotations ? { annotations } : {}),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return { bytes, descriptor: { mediaType: MEDIA.ociManifest, digest: sha256(bytes), size: bytes.length } };
}

/** See Images.pushArtifact. */
export async function pushArtifact(
  { registries, patience = PATIENCE }: Pick<PullContext, "registries" | "patience">,
  { reference: text, auth, signal = new AbortController().signal }: AskOptions,
  artifact: { artifactType: string; config: { mediaType: string; data: Buffer }; layers: readonly ArtifactFile[] },
): Promise<Descriptor> {
  const { repository, tag } = target({ registries, patience }, text, auth);
  await sendAll(repository, artifact.layers, signal);
  const { mediaType, data } = artifact.config;
  const config = { mediaType, digest: sha256(data), size: data.length };
  await uploadBytes(repository, data, config, signal);
  const { bytes, descriptor } = manifestOf(config, artifact.layers, { artifactType: artifact.artifactType });
  await repository.putManifest(bytes, descriptor, tag, signal);
  return descriptor;
}

/** One image of an index that is pushed. */
export interface PlatformImage {
  readonly platform: Platform;
  /** Its configuration as JSON. */
  readonly config: string;
  readonly layers: readonly ArtifactFile[];
  /** Of its manifest, and of its descriptor in the index. */
  readonly annotations?: Record<string, string> | undefined;
  readonly descriptorAnnotations?: Record<string, string> | undefined;
}

/** See Images.pushIndex. */
export async function pushIndex(
  { registries, patience = PATIENCE }: Pick<PullContext, "registries" | "patience">,
  { reference: text, auth, signal = new AbortController().signal }: AskOptions,
  images: readonly PlatformImage[],
  annotations?: Record<string, string>,
): Promise<{ descriptor: Descriptor; manifests: Descriptor[] }> {
  const { repository, tag } = target({ registries, patience }, text, auth);
  await sendAll(
    repository,
    images.flatMap(({ layers }) => layers),
    signal,
  );
  const manifests: Descriptor[] = [];
  for (const { platform, config: json, layers, annotations: own, descriptorAnnotations } of images) {
    const data = Buffer.from(json);
    const config = { mediaType: MEDIA.ociConfig, digest: sha256(data), size: data.length };
    await uploadBytes(repository, data, config, signal);
    const { bytes, descriptor } = manifestOf(config, layers, own ? { annotations: own } : {});
    await repository.putManifest(bytes, descriptor, descriptor.digest, signal);
    manifests.push({
      ...descriptor,
      platform,
      ...(descriptorAnnotations ? { annotations: descriptorAnnotations } : {}),
    });
  }
  const index: Index = {
    schemaVersion: 2,
    mediaType: MEDIA.ociIndex,
    manifests,
    ...(annotations ? { annotations } : {}),
  };
  const bytes = Buffer.from(JSON.stringify(index));
  const descriptor = { mediaType: MEDIA.ociIndex, digest: sha256(bytes), size: bytes.length };
  await repository.putManifest(bytes, descriptor, tag, signal);
  return { descriptor, manifests };
}

function target(
  { registries, patience }: Required<Pick<PullContext, "registries" | "patience">>,
  text: string,
  auth: AskOptions["auth"],
): { repository: Repository; tag: string } {
  const { domain, path, tag } = withDefaultTag(parseReference(text));
  if (tag === undefined) throw invalid(`push ${text.slice(0, 300)}: a tag is needed, not a digest`);
  return { repository: new Repository(originOf(domain, registries), path, auth, patience, "pull,push"), tag };
}

/** Each blob once, some at once; the first failure ends the rest. */
async function sendAll(repository: Repository, layers: readonly ArtifactFile[], signal: AbortSignal): Promise<void> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const slots = new Slots(PARALLEL);
  const unique = new Map(layers.map((layer) => [layer.descriptor.digest, layer]));
  const works = [...unique.values()].map((layer) => slots.run(() => send(repository, layer, either)));
  for (const work of works) work.catch((error) => failure.abort(error));
  await Promise.allSettled(works);
  either.throwIfAborted();
}

async function send(repository: Repository, { descriptor, path }: ArtifactFile, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const located = await locate(repository, descriptor.digest, [], signal);
  if (located.at !== "nowhere") return;
  const open = (start: number) => createReadStream(path, { start, highWaterMark: CHUNK });
  const { session } = located;
  await upload({ repository, descriptor, session, patience: repository.patience, signal, open });
}
