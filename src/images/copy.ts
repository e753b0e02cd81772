import { invalid } from "../base/errors.ts";
import { Slots } from "../base/slots.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { originOf } from "../registry/endpoint.ts";
import { isTransient, PATIENCE, type Patience } from "../registry/http.ts";
import { parseManifest } from "../registry/manifest.ts";
import { pause } from "../registry/pause.ts";
import { type FetchedManifest, MAX_MANIFEST, RegistryError, Repository } from "../registry/repository.ts";
import { locate, upload } from "../registry/upload.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import { type Descriptor, MEDIA } from "../spec/oci-image.ts";
import { Progress } from "./progress.ts";
import type { PullContext } from "./pull.ts";
import { parseReference, repositoryName, withDefaultTag } from "./reference.ts";
import { repositoriesOf } from "./repositories.ts";
import { explain, firstOf } from "./resolve.ts";

export interface CopyOptions {
  source: string;
  target: string;
  auth?: RegistryAuth;
  /** For the target's registry. */
  targetAuth?: RegistryAuth;
  onMessage(message: StreamMessage): void;
  signal?: AbortSignal;
}

const PARALLEL = 4;
const MAX_DEPTH = 4;
const MAX_BLOBS = 10_000;

/** See Images.copy. */
export async function copy({ registries, patience = PATIENCE }: PullContext, options: CopyOptions): Promise<void> {
  const source = withDefaultTag(parseReference(options.source));
  const target = withDefaultTag(parseReference(options.target));
  const signal = options.signal ?? new AbortController().signal;
  const progress = new Progress(options.onMessage);
  const repositories = repositoriesOf(source, registries, options.auth, patience);
  const to = new Repository(
    originOf(target.domain, registries),
    target.path,
    options.targetAuth,
    patience,
    "pull,push",
  );
  const { value: root, from } = await firstOf(repositories, (one) =>
    one.manifest(source.digest ?? source.tag!, signal),
  ).catch((error) => {
    throw explain(error, source, options.auth !== undefined);
  });
  if (target.digest !== undefined && target.digest !== root.digest) {
    throw invalid(`copy ${options.source}: it is ${root.digest}, not ${target.digest}`);
  }
  progress.say(`The copy refers to repository [${repositoryName(target)}]`);
  const mounts = source.domain === target.domain && source.path !== target.path ? [source.path] : [];
  const work = new Copy({ from, to, mounts, progress, patience, signal });
  await work.manifest(root, target.digest ?? target.tag!, 0);
  progress.say(`${target.tag ?? target.digest}: digest: ${root.digest} size: ${root.bytes.length}`);
  progress.aux({ Tag: target.tag ?? "", Digest: root.digest, Size: root.bytes.length });
}

interface CopyWork {
  from: Repository[];
  to: Repository;
  mounts: string[];
  progress: Progress;
  patience: Patience;
  signal: AbortSignal;
}

class Copy {
  readonly #blobs = new Map<string, Promise<void>>();
  readonly #slots = new Slots(PARALLEL);

  constructor(private readonly work: CopyWork) {}

  /** What a manifest needs goes first, so that the target never has one that is not whole. */
  async manifest(fetched: FetchedManifest, name: string, depth: number): Promise<void> {
    const { from, to, signal } = this.work;
    const parsed = parseManifest(fetched.bytes, fetched.mediaType);
    if (parsed.kind === "index") {
      if (depth >= MAX_DEPTH) throw invalid(`copy: indexes nested deeper than ${MAX_DEPTH}`);
      for (const entry of parsed.index.manifests) {
        if (entry.size > MAX_MANIFEST) throw invalid(`manifest ${entry.digest} is larger than ${MAX_MANIFEST} bytes`);
        const { value } = await firstOf(from, (one) => one.manifest(entry.digest, signal));
        await this.manifest(value, entry.digest, depth + 1);
      }
    } else {
      const { config, layers } = parsed.manifest;
      await this.#all([...layers, config]);
    }
    const { mediaType: own } = parsed.kind === "index" ? parsed.index : parsed.manifest;
    const mediaType = own ?? (fetched.mediaType || MEDIA.ociManifest);
    await to.putManifest(fetched.bytes, { mediaType, digest: fetched.digest }, name, signal);
  }

  async #all(descriptors: Descriptor[]): Promise<void> {
    const works = descriptors.map((descriptor) => {
      const known = this.#blobs.get(descriptor.digest);
      if (known) return known;
      if (this.#blobs.size >= MAX_BLOBS) throw invalid(`copy: more than ${MAX_BLOBS} blobs`);
      const work = this.#slots.run(() => this.#blob(descriptor));
      this.#blobs.set(descriptor.digest, work);
      return work;
    });
    const results = await Promise.allSettled(works);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #blob(descriptor: Descriptor): Promise<void> {
    const { to, mounts, progress, patience, signal } = this.work;
    const { digest, size, mediaType } = descriptor;
    // What may not be distributed stays where it is (image-spec layer.md, "Non-Distributable Layers").
    if (/nondistributable|\.foreign\./.test(mediaType)) return;
    signal.throwIfAborted();
    const id = digest.slice(digest.indexOf(":") + 1).slice(0, 12);
    const located = await locate(to, digest, mounts, signal);
    if (located.at !== "nowhere") {
      progress.say(located.at === "mounted" ? `Mounted from ${located.from}` : "Layer already exists", id);
      return;
    }
    await upload({
      ...{ repository: to, descriptor, session: located.session, patience, signal },
      open: (offset) => this.#read(descriptor, offset),
      onProgress: (current) => progress.advance("Pushing", id, current, size),
      onRetry: (seconds) => progress.say(`Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id),
    });
    progress.say("Pushed", id);
  }

  /** The source's bytes; its own lost connections are taken up again here. */
  async *#read({ digest, size }: Descriptor, offset: number): AsyncGenerator<Uint8Array> {
    const { from, patience, signal } = this.work;
    let at = offset;
    for (let fruitless = 0; at < size; ) {
      const before = at;
      try {
        const { value: blob } = await firstOf(from, (one) => one.blob(digest, at, signal));
        let skip = at - blob.offset;
        for await (const chunk of blob.body) {
          const rest = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - rest.length;
          at += rest.length;
          if (at > size) throw invalid(`blob ${digest} is larger than the ${size} bytes its manifest says`);
          if (rest.length > 0) yield rest;
        }
        if (at < size) throw new RegistryError(503, undefined, `blob ${digest} ended after ${at} of ${size} bytes`);
      } catch (error) {
        fruitless = at > before ? 0 : fruitless + 1;
        const again = isTransient(error) || (error instanceof RegistryError && error.status >= 500);
        if (!again || fruitless >= patience.attempts) throw error;
        await pause(patience.retryDelay * 2 ** fruitless, signal);
      }
    }
  }
}
