import { sha256 } from "../base/digest.ts";
import { notFound } from "../base/errors.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import type { Registries } from "../registry/endpoint.ts";
import { PATIENCE, type Patience } from "../registry/http.ts";
import type { Repository } from "../registry/repository.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { fetchImage } from "./fetch.ts";
import type { Hold } from "./holds.ts";
import { formatPlatform, hostPlatform, parsePlatform, satisfies } from "./platform.ts";
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
import { repositoriesOf } from "./repositories.ts";
import { explain, firstOf, resolve } from "./resolve.ts";
import { readPolicy, type SignaturePolicy } from "./signature-policy.ts";
import { checkPolicy } from "./signature-verify.ts";
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
  registries: Registries;
  patience?: Patience;
}

/** See Images.pull. Nothing is recorded before everything is verified and unpacked. */
export async function pull(context: PullContext, options: PullOptions): Promise<void> {
  const reference = wantedReference(options);
  const { store, registries, patience = PATIENCE } = context;
  const progress = new Progress(options.onMessage);
  const signal = options.signal ?? new AbortController().signal;
  const repositories = repositoriesOf(reference, registries, options.auth, patience);
  const platform = options.platform ? parsePlatform(options.platform) : hostPlatform();
  const pulling = {
    ...{ store, repositories, progress, signal, patience },
    platform: { platform, explicit: Boolean(options.platform) },
    withAuth: options.auth !== undefined,
    policy: registries.policy === undefined ? undefined : readPolicy(registries.policy),
  };
  if (!options.all) {
    const wanted = withDefaultTag(reference);
    progress.say(status(await pullOne(pulling, wanted), familiar(wanted)));
    return;
  }
  const { value: tags } = await firstOf(repositories, (repository) => repository.tags(signal)).catch((error) => {
    throw explain(error, reference, pulling.withAuth);
  });
  let fresh = false;
  for (const tag of tags) {
    checkTag(tag);
    if (await pullOne(pulling, { ...reference, tag })) fresh = true;
  }
  progress.say(status(fresh, familiarName(reference)));
}

function status(fresh: boolean, name: string): string {
  return `Status: ${fresh ? "Downloaded newer image" : "Image is up to date"} for ${name}`;
}

function wantedReference({ reference: text, tag, all }: PullOptions): Reference {
  const reference = parseReference(text);
  const bare = { domain: reference.domain, path: reference.path };
  if (all) return bare;
  return tag ? parseReference(`${repositoryName(bare)}${tag.includes(":") ? "@" : ":"}${tag}`) : reference;
}

interface Pulling {
  store: ImageStore;
  repositories: Repository[];
  progress: Progress;
  signal: AbortSignal;
  patience: Patience;
  platform: Parameters<typeof resolve>[2];
  withAuth: boolean;
  policy: SignaturePolicy | undefined;
}

/** Pulls one tag or digest; false when it was here already. */
async function pullOne(pulling: Pulling, reference: Reference): Promise<boolean> {
  const { store, repositories, progress, signal, patience } = pulling;
  const { platform, explicit } = pulling.platform;
  const resolved = await resolve(repositories, reference, pulling.platform, signal).catch((error) => {
    throw explain(error, reference, pulling.withAuth);
  });
  if (pulling.policy) {
    const digests = [...new Set([resolved.digest, sha256(resolved.bytes)])];
    await checkPolicy(pulling.policy, { reference, digests, repositories }, signal);
  }
  // Not earlier: what fails before the first message has a status of its own in the API.
  progress.begin(
    `Pulling from ${reference.path}`,
    reference.digest === undefined ? reference.tag! : canonical(reference),
  );
  const check = (config: ImageConfig) => {
    checkOs(config);
    if (satisfies(config, platform, explicit)) return;
    const found = `image with reference ${familiar(reference)} was found but its platform`;
    throw notFound(
      `${found} (${formatPlatform(config)}) does not match the specified platform (${formatPlatform(platform)})`,
    );
  };
  const hold = store.holds.open();
  try {
    const known = store.records.get(resolved.manifest.config.digest);
    if (known) check(known.config);
    const row =
      known && isComplete(known, store)
        ? holdKnown(known, hold)
        : await fetchImage(store, resolved, { hold, progress, signal, patience, check });
    signal.throwIfAborted();
    await store.layers.sync();
    progress.say(`Digest: ${resolved.digest}`);
    const blobs = [resolved.manifest.config, ...resolved.manifest.layers].map((blob) => blob.digest);
    return store.records.transaction(() => {
      store.origins.record(blobs, repositoryName(reference));
      return record(store, reference, resolved.digest, row);
    });
  } finally {
    hold.release();
  }
}

/** Whether what a check of the store found corrupt, and dropped, is none of its. */
function isComplete({ id, manifest, layers: own }: ImageRow, { content, layers }: ImageStore): boolean {
  const blobs = [id, manifest.digest, ...own.map(({ blob }) => blob.digest)];
  return blobs.every((blob) => content.has(blob)) && own.every(({ chainId }) => layers.has(chainId));
}

function holdKnown(row: ImageRow, hold: Hold): ImageRow {
  for (const blob of [row.id, row.manifest.digest, ...row.layers.map((layer) => layer.blob.digest)]) hold.blob(blob);
  for (const { chainId } of row.layers) hold.chain(chainId);
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
