import { isDigest, sha256 } from "../base/digest.ts";
import { InroError, invalid } from "../base/errors.ts";
import { type Descriptor, type Index, type Manifest, MEDIA } from "../spec/oci-image.ts";
import type { HttpAnswer } from "./http.ts";
import { parseManifest } from "./manifest.ts";
import { expectStatus, MAX_MANIFEST, RegistryError, type Repository } from "./repository.ts";
import { locate, upload } from "./upload.ts";

/** The empty descriptor of the image-spec ("Guidance for an Empty Descriptor"). */
export const EMPTY: Descriptor & { data: string } = {
  mediaType: "application/vnd.oci.empty.v1+json",
  digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
  size: 2,
  data: "e30=",
};

const MAX_PAGES = 50;
const MAX_REFERRERS = 1000;

/**
 * Manifests at the registry whose subject is `digest` (distribution-spec, "Listing Referrers"), also from one without the
 * API, by the tag that stands in for it. What the registry sends is checked; nothing there is an empty list.
 */
export async function referrers(
  repository: Repository,
  digest: string,
  options: { artifactType?: string | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Descriptor[]> {
  const { artifactType, signal } = options;
  const listed =
    (await fromApi(repository, digest, artifactType, signal)) ?? (await fromTag(repository, digest, signal));
  return listed.filter((entry) => artifactType === undefined || entry.artifactType === artifactType);
}

async function fromApi(
  repository: Repository,
  digest: string,
  artifactType: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Descriptor[] | undefined> {
  const found: Descriptor[] = [];
  let url: URL | null = repository.url(`referrers/${digest}`);
  if (artifactType !== undefined) url.searchParams.set("artifactType", artifactType);
  for (let page = 0; url && page < MAX_PAGES && found.length < MAX_REFERRERS; page++) {
    const answer: HttpAnswer = await repository.request({ method: "GET", url, signal, accept: MEDIA.ociIndex });
    const type = (answer.header("Content-Type") ?? "").split(";")[0]!.trim();
    if (
      page === 0 &&
      (answer.status === 404 || answer.status === 405 || (answer.status === 200 && type !== MEDIA.ociIndex))
    ) {
      answer.discard();
      return undefined;
    }
    await expectStatus(answer, [200]);
    found.push(...indexOf(await answer.bytes(MAX_MANIFEST)));
    url = repository.following(answer, url);
  }
  return found.slice(0, MAX_REFERRERS);
}

/** The tag of a registry without the API (distribution-spec, "Referrers Tag Schema"). */
export function referrersTag(digest: string): string {
  const [algorithm, encoded] = digest.split(":") as [string, string];
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`.replaceAll(/[^A-Za-z0-9._-]/g, "-");
}

async function fromTag(repository: Repository, digest: string, signal?: AbortSignal): Promise<Descriptor[]> {
  try {
    return indexOf((await repository.manifest(referrersTag(digest), signal)).bytes).slice(0, MAX_REFERRERS);
  } catch (error) {
    // A tag that is something else says nothing about referrers.
    if (error instanceof InroError && (error.kind === "notFound" || error.kind === "invalid")) return [];
    throw error;
  }
}

function indexOf(bytes: Buffer): Descriptor[] {
  const parsed = parseManifest(bytes, MEDIA.ociIndex);
  if (parsed.kind !== "index") throw invalid("list of referrers: it is no index");
  return parsed.index.manifests;
}

/** What is attached to an image. */
export interface Artifact {
  artifactType: string;
  blobs: { mediaType: string; data: Uint8Array; annotations?: Record<string, string> }[];
  annotations?: Record<string, string>;
  /** In place of the empty one. */
  config?: { mediaType: string; data: Uint8Array };
}

/**
 * Pushes an artifact whose subject is a manifest in the repository (image-spec, "Guidelines for Artifact Usage"), and
 * lists it under the tag where the registry has no referrers API. Answers its descriptor. `repository` may push.
 */
export async function attach(
  repository: Repository,
  subject: Descriptor,
  artifact: Artifact,
  signal: AbortSignal = new AbortController().signal,
): Promise<Descriptor> {
  const { mediaType, digest, size } = subject;
  const put = async (data: Uint8Array, type: string): Promise<Descriptor> => {
    const descriptor = { mediaType: type, digest: sha256(data), size: data.length };
    await uploadBytes(repository, data, descriptor, signal);
    return descriptor;
  };
  const empty = Buffer.from(EMPTY.data, "base64");
  const { config } = artifact;
  if (!config) await put(empty, EMPTY.mediaType);
  const layers: Descriptor[] = [];
  for (const { data, mediaType: type, annotations } of artifact.blobs) {
    layers.push({ ...(await put(data, type)), ...(annotations ? { annotations } : {}) });
  }
  if (layers.length === 0) layers.push(config ? { ...EMPTY, ...(await put(empty, EMPTY.mediaType)) } : EMPTY);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    artifactType: artifact.artifactType,
    config: config ? await put(config.data, config.mediaType) : EMPTY,
    layers,
    subject: { mediaType, digest, size },
    ...(artifact.annotations ? { annotations: artifact.annotations } : {}),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const own = { mediaType: MEDIA.ociManifest, digest: sha256(bytes), size: bytes.length };
  const answer = await repository.putManifest(bytes, own, own.digest, signal);
  const described: Descriptor = {
    ...own,
    artifactType: artifact.artifactType,
    ...(artifact.annotations ? { annotations: artifact.annotations } : {}),
  };
  if (answer.header("OCI-Subject") === undefined) await listByTag(repository, digest, described, signal);
  return described;
}

async function listByTag(
  repository: Repository,
  subject: string,
  entry: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  const before = await fromTag(repository, subject, signal);
  if (before.some(({ digest }) => digest === entry.digest)) return;
  const index: Index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [...before, entry] };
  const bytes = Buffer.from(JSON.stringify(index));
  const own = { mediaType: MEDIA.ociIndex, digest: sha256(bytes) };
  await repository.putManifest(bytes, own, referrersTag(subject), signal);
}

/** Uploads bytes that are in memory, unless they are there. */
export async function uploadBytes(
  repository: Repository,
  data: Uint8Array,
  descriptor: Pick<Descriptor, "digest" | "size">,
  signal: AbortSignal,
): Promise<void> {
  const located = await locate(repository, descriptor.digest, [], signal);
  if (located.at !== "nowhere") return;
  async function* open(offset: number) {
    yield data.subarray(offset);
  }
  await upload({ repository, descriptor, open, patience: repository.patience, signal });
}

/** An artifact's manifest and its blobs; each at most `limit` bytes. Verified; throws invalid, or a RegistryError. */
export async function readArtifact(
  repository: Repository,
  digest: string,
  { limit, signal }: { limit: number; signal?: AbortSignal | undefined },
): Promise<{ manifest: Manifest; blobs: Buffer[] }> {
  if (!isDigest(digest)) throw invalid("artifact: unusable digest");
  const fetched = await repository.manifest(digest, signal);
  const parsed = parseManifest(fetched.bytes, fetched.mediaType);
  if (parsed.kind !== "manifest") throw invalid(`artifact ${digest}: it is an index`);
  const blobs: Buffer[] = [];
  for (const layer of parsed.manifest.layers) blobs.push(await repository.smallBlob(layer, limit, signal));
  return { manifest: parsed.manifest, blobs };
}

/** True for an error that means "not there". */
export const isMissing = (error: unknown) => error instanceof RegistryError && error.status === 404;
