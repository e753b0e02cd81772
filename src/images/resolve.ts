import { InroError, invalid, notFound } from "../base/errors.ts";
import { checkImageManifest, parseManifest } from "../registry/manifest.ts";
import { MAX_MANIFEST, RegistryError, type Repository } from "../registry/repository.ts";
import { type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";
import { choosePlatform } from "./platform.ts";
import { familiar, familiarName, type Reference } from "./reference.ts";

/** The image that a reference names at a registry. */
export interface Resolved {
  /** Digest of what the reference names: of an index, where there is one. */
  digest: string;
  manifest: Manifest;
  /** The manifest as the registry has it, and its type. */
  bytes: Buffer;
  mediaType: string;
  /** Where its blobs are, best first. */
  repositories: Repository[];
}

const MAX_INDEX_DEPTH = 4;

/** Fetches the manifest; from an index that for `platform`, which is `explicit` when the user asked for it. */
export async function resolve(
  repositories: Repository[],
  reference: Reference,
  { platform, explicit }: { platform: Platform; explicit: boolean },
  signal: AbortSignal,
): Promise<Resolved> {
  const wanted = reference.digest ?? reference.tag!;
  const asked = reference.digest ? repositories : repositories.filter(({ endpoint }) => !endpoint.digestsOnly);
  let { value: fetched, from } = await firstOf(asked, (repository) => repository.manifest(wanted, signal));
  const { digest } = fetched;
  // Mirrors that only know digests come in where tags are behind.
  if (asked.length < repositories.length) from = repositories;
  let mediaType = fetched.mediaType;
  for (let depth = 0; depth < MAX_INDEX_DEPTH; depth++) {
    const parsed = parseManifest(fetched.bytes, mediaType);
    if (parsed.kind === "manifest") {
      checkImageManifest(parsed.manifest);
      const type = parsed.manifest.mediaType ?? (mediaType === MEDIA.dockerManifest ? mediaType : MEDIA.ociManifest);
      return { digest, manifest: parsed.manifest, bytes: fetched.bytes, mediaType: type, repositories: from };
    }
    const entry = choosePlatform(parsed.index.manifests, platform, explicit);
    if (entry.size > MAX_MANIFEST) throw invalid(`manifest ${entry.digest} is larger than ${MAX_MANIFEST} bytes`);
    mediaType = entry.mediaType;
    ({ value: fetched, from } = await firstOf(from, (repository) => repository.manifest(entry.digest, signal)));
    if (fetched.bytes.length !== entry.size) {
      throw invalid(`manifest ${entry.digest} has ${fetched.bytes.length} bytes, its index says ${entry.size}`);
    }
  }
  throw invalid(`manifest ${digest}: indexes nested deeper than ${MAX_INDEX_DEPTH}`);
}

/** Asks one repository after the other; answers also which are left to ask: the one that answered and those after it. */
export async function firstOf<T>(
  repositories: Repository[],
  ask: (repository: Repository) => Promise<T>,
): Promise<{ value: T; from: Repository[] }> {
  for (let i = 0; ; i++) {
    try {
      return { value: await ask(repositories[i]!), from: repositories.slice(i) };
    } catch (error) {
      // A mirror that fails in whatever way is passed over; the origin's error is the one to report.
      if (i + 1 >= repositories.length || !(error instanceof InroError)) throw error;
    }
  }
}

/** Docker's words for what a registry answered; other errors as they are. */
export function explain(error: unknown, reference: Reference, withAuth: boolean): unknown {
  if (!(error instanceof RegistryError)) return error;
  const { status, errorCode, message } = error;
  if (status === 403 || errorCode === "DENIED" || (status === 401 && !withAuth)) {
    const why = "repository does not exist or may require 'docker login'";
    return notFound(`pull access denied for ${familiarName(reference)}, ${why}: ${message}`, error);
  }
  if (errorCode === "NAME_UNKNOWN") {
    return notFound(`repository ${familiarName(reference)} not found: ${message}`, error);
  }
  if (status === 404) return notFound(`manifest for ${familiar(reference)} not found: ${message}`, error);
  return error;
}
