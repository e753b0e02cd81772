import { chainId, sha256 } from "../base/digest.ts";
import { InroError, invalid, notFound } from "../base/errors.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { download } from "../registry/download.ts";
import { endpoints } from "../registry/endpoint.ts";
import { PATIENCE, type Patience } from "../registry/http.ts";
import { checkImageManifest, parseManifest } from "../registry/manifest.ts";
import { MAX_MANIFEST, RegistryError, Repository } from "../registry/repository.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import { type Descriptor, type ImageConfig, type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";
import { MAX_CONFIG, parseImageConfig } from "./config.ts";
import type { Hold } from "./holds.ts";
import { choosePlatform, formatPlatform, hostPlatform, parsePlatform, satisfies } from "./platform.ts";
import { Progress } from "./progress.ts";
import type { ImageRow } from "./records.ts";
import {
  canonical,
  checkTag,
  familiar,
  familiarName,
  parseReference,
  type Reference,
  repositoryName,
  withDefaultTag,
} from "./reference.ts";
import { Slots } from "./slots.ts";
import { checkOs, type ImageStore } from "./store.ts";

export interface PullOptions {
  reference: string;
  /** A tag or a digest; replaces the one in `reference`. */
  tag?: string;
  /** Every tag of the repository. */
  all?: boolean;
  /** `os[/arch[/variant]]`; this machine's when absent. */
  platform?: string;
  auth?: RegistryAuth;
  onMessage(message: StreamMessage): void;
  signal?: AbortSignal;
}

export interface PullContext {
  store: ImageStore;
  registryMirror?: string | undefined;
  patience?: Patience;
}

const PARALLEL = 3;
const MAX_INDEX_DEPTH = 4;

interface Resolved {
  /** Digest of what the reference names: of an index, where there is one. */
  digest: string;
  manifest: Manifest;
  bytes: Buffer;
  mediaType: string;
  /** Where its blobs are, best first. */
  repositories: Repository[];
}

/** Pulls one image, or all of a repository. Nothing is recorded before everything is verified and unpacked. */
export async function pull(context: PullContext, options: PullOptions): Promise<void> {
  const reference = wantedReference(options);
  const progress = new Progress(options.onMessage);
  const signal = options.signal ?? new AbortController().signal;
  const patience = context.patience ?? PATIENCE;
  const repositories = endpoints(reference.domain, context.registryMirror).map(
    (endpoint) => new Repository(endpoint, reference.path, options.auth, patience),
  );
  if (!options.all) {
    const wanted = withDefaultTag(reference);
    const fresh = await pullOne(context, wanted, repositories, options.platform, progress, signal);
    progress.say(status(fresh, familiar(wanted)));
    return;
  }
  const tags = await firstOf(repositories, (repository) => repository.tags(signal)).catch((error) => {
    throw explain(error, reference, options.auth !== undefined);
  });
  let fresh = false;
  for (const tag of tags.value) {
    checkTag(tag);
    const one = await pullOne(context, { ...reference, tag }, repositories, options.platform, progress, signal);
    fresh = one || fresh;
  }
  progress.say(status(fresh, familiarName(reference)));

  async function pullOne(...[context, wanted, ...rest]: Parameters<typeof pullReference>): Promise<boolean> {
    return pullReference(context, wanted, ...rest).catch((error) => {
      throw explain(error, wanted, options.auth !== undefined);
    });
  }
}

function status(fresh: boolean, name: string): string {
  return `Status: ${fresh ? "Downloaded newer image" : "Image is up to date"} for ${name}`;
}

function wantedReference({ reference: text, tag, all }: PullOptions): Reference {
  const reference = parseReference(text);
  if (all) return { domain: reference.domain, path: reference.path };
  if (!tag) return reference;
  const bare = { domain: reference.domain, path: reference.path };
  return parseReference(`${repositoryName(bare)}${tag.includes(":") ? "@" : ":"}${tag}`);
}

async function pullReference(
  { store, patience = PATIENCE }: PullContext,
  reference: Reference,
  repositories: Repository[],
  platformText: string | undefined,
  progress: Progress,
  outer: AbortSignal,
): Promise<boolean> {
  const platform = platformText ? parsePlatform(platformText) : hostPlatform();
  progress.say(`Pulling from ${reference.path}`, reference.digest === undefined ? reference.tag : canonical(reference));
  const resolved = await resolve(repositories, reference, platform, platformText !== undefined, outer);
  const hold = store.holds.open();
  try {
    const known = store.records.get(resolved.manifest.config.digest);
    const row = known
      ? holdKnown(known, hold, store)
      : await fetchImage(store, resolved, { hold, progress, outer, patience, check: checkConfig });
    if (known) checkConfig(known.config);
    outer.throwIfAborted();
    progress.say(`Digest: ${resolved.digest}`);
    return store.records.transaction(() => record(store, reference, resolved.digest, row));
  } finally {
    hold.release();
  }

  function checkConfig(config: ImageConfig): void {
    checkOs(config);
    if (satisfies(config, platform, platformText !== undefined)) return;
    throw notFound(
      `image with reference ${familiar(reference)} was found but its platform (${formatPlatform(config)}) does not match the specified platform (${formatPlatform(platform)})`,
    );
  }
}

function holdKnown(row: ImageRow, hold: Hold, { layers }: ImageStore): ImageRow {
  for (const blob of [row.id, row.manifest.digest, ...row.layers.map((layer) => layer.blob.digest)]) hold.blob(blob);
  for (const { chainId: chain } of row.layers) {
    hold.chain(chain);
    if (!layers.has(chain)) throw new InroError("internal", `layer ${chain} of image ${row.id} is missing on disk`);
  }
  return row;
}

function record({ records }: ImageStore, reference: Reference, digest: string, row: Omit<ImageRow, "config">): boolean {
  const repository = repositoryName(reference);
  const before = reference.digest ? records.digested(repository, digest) : records.tagged(repository, reference.tag!);
  records.add(row);
  records.setDigest(repository, digest, row.id);
  if (!reference.digest) records.setTag(repository, reference.tag!, row.id);
  return before !== row.id;
}

async function resolve(
  repositories: Repository[],
  reference: Reference,
  platform: Platform,
  explicit: boolean,
  signal: AbortSignal,
): Promise<Resolved> {
  const wanted = reference.digest ?? reference.tag!;
  let { value: fetched, from } = await firstOf(repositories, (repository) => repository.manifest(wanted, signal));
  const { digest } = fetched;
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

/** Asks one repository after the other, and answers also which are left to ask: this one and those after it. */
async function firstOf<T>(
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

interface Fetching {
  hold: Hold;
  progress: Progress;
  outer: AbortSignal;
  patience: Patience;
  check(config: ImageConfig): void;
}

/** Downloads and unpacks all of an image: layers in order, while later ones still arrive. */
async function fetchImage(store: ImageStore, resolved: Resolved, fetching: Fetching): Promise<Omit<ImageRow, "config">> {
  const { config: configDescriptor, layers } = resolved.manifest;
  const { content } = store;
  const { hold, progress } = fetching;
  // The first failure ends everything else.
  const failure = new AbortController();
  const signal = AbortSignal.any([fetching.outer, failure.signal]);
  const running: Promise<unknown>[] = [];
  const start = <T>(work: () => Promise<T>): Promise<T> => {
    const promise = work();
    running.push(promise.catch((error) => failure.abort(error)));
    return promise;
  };
  const slots = new Slots(PARALLEL);
  const fetchBlob = (descriptor: Descriptor, onEvent: (current: number) => void, onRetry: (seconds: number) => void) =>
    slots.run(() =>
      store.downloads.run(descriptor.digest, { signal, onEvent }, async (flight, emit) => {
        if (content.has(descriptor.digest)) return;
        const { repositories } = resolved;
        await download({
          ...{ repositories, descriptor, content, patience: fetching.patience },
          ...{ signal: flight, onProgress: emit, onRetry },
        });
      }),
    );

  try {
    if (configDescriptor.size > MAX_CONFIG || !configDescriptor.digest.startsWith("sha256:")) {
      throw invalid(`image config ${configDescriptor.digest} is too large or not named by sha256`);
    }
    hold.blob(configDescriptor.digest);
    const config = start(async () => {
      await fetchBlob(configDescriptor, () => {}, () => {});
      const text = (await content.read(configDescriptor.digest, MAX_CONFIG)).toString();
      const parsed = parseImageConfig(text);
      fetching.check(parsed);
      if (parsed.rootfs.diff_ids.length !== layers.length) {
        throw invalid(`image config names ${parsed.rootfs.diff_ids.length} layers, the manifest ${layers.length}`);
      }
      return { text, diffIds: parsed.rootfs.diff_ids };
    });
    const present = new Set<string>();
    const blobs = new Map<string, Promise<void>>();
    for (const layer of layers) {
      const id = shortId(layer);
      hold.blob(layer.digest);
      if (blobs.has(layer.digest)) continue;
      if (content.has(layer.digest) && content.size(layer.digest) === layer.size) {
        present.add(layer.digest);
        blobs.set(layer.digest, Promise.resolve());
        continue;
      }
      progress.say("Pulling fs layer", id);
      if (slots.full) progress.say("Waiting", id);
      const onProgress = (current: number) => {
        progress.advance("Downloading", id, current, layer.size);
        if (current === layer.size) progress.say("Verifying Checksum", id);
      };
      const onRetry = (seconds: number) => progress.say(`Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id);
      const done = start(async () => {
        await fetchBlob(layer, onProgress, onRetry);
        progress.say("Download complete", id);
      });
      blobs.set(layer.digest, done);
    }
    const { text, diffIds } = await config;
    for (const [index, layer] of layers.entries()) {
      await blobs.get(layer.digest);
      const id = shortId(layer);
      if (present.has(layer.digest) && store.layers.has(chainId(diffIds.slice(0, index + 1)))) {
        hold.chain(chainId(diffIds.slice(0, index + 1)));
        progress.say("Already exists", id);
        continue;
      }
      const onProgress = (bytes: number) => progress.advance("Extracting", id, Math.min(bytes, layer.size), layer.size);
      await store.unpack(diffIds, index, layer.digest, hold, { signal, onProgress });
      progress.say("Pull complete", id);
    }
    hold.blob(sha256(resolved.bytes));
    const { digest, size } = await content.put(resolved.bytes);
    return store.row(text, { mediaType: resolved.mediaType, digest, size }, layers);
  } catch (error) {
    failure.abort(error);
    throw signal.reason;
  } finally {
    await Promise.all(running);
  }
}

const shortId = (layer: Descriptor) => layer.digest.slice(layer.digest.indexOf(":") + 1).slice(0, 12);

/** Docker's words for what a registry answered. */
function explain(error: unknown, reference: Reference, withAuth: boolean): unknown {
  if (!(error instanceof RegistryError)) return error;
  const { status, errorCode, message } = error;
  if (status === 403 || errorCode === "DENIED" || (status === 401 && !withAuth)) {
    const why = "repository does not exist or may require 'docker login'";
    return notFound(`pull access denied for ${familiarName(reference)}, ${why}: ${message}`, error);
  }
  if (errorCode === "NAME_UNKNOWN") return notFound(`repository ${familiarName(reference)} not found: ${message}`, error);
  if (status === 404) return notFound(`manifest for ${familiar(reference)} not found: ${message}`, error);
  return error;
}
