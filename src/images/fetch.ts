import { chainId, sha256 } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { Slots } from "../base/slots.ts";
import { GrowingFile } from "../layers/growing.ts";
import { download } from "../registry/download.ts";
import type { Patience } from "../registry/http.ts";
import type { Repository } from "../registry/repository.ts";
import type { Descriptor, ImageConfig } from "../spec/oci-image.ts";
import { MAX_CONFIG, parseImageConfig } from "./config.ts";
import type { Hold } from "./holds.ts";
import type { Progress } from "./progress.ts";
import type { ImageRow } from "./records.ts";
import type { Resolved } from "./resolve.ts";
import type { ImageStore } from "./store.ts";

export interface FetchOptions {
  hold: Hold;
  progress: Progress;
  signal: AbortSignal;
  patience: Patience;
  /** Throws for a configuration that is not wanted. */
  check(config: ImageConfig): void;
}

const PARALLEL = 3;
/** Bytes of a layer: a smaller one is here before a process has started. */
const FOLLOWED = 1 << 20;

/** Downloads and unpacks all of an image: layers in order, while later ones still arrive. The first failure ends the rest. */
export async function fetchImage(
  store: ImageStore,
  resolved: Resolved,
  options: FetchOptions,
): Promise<Omit<ImageRow, "config">> {
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const running: Promise<unknown>[] = [];
  const start = <T>(work: Promise<T>): Promise<T> => {
    running.push(work.catch((error) => failure.abort(error)));
    return work;
  };
  try {
    const { layers, config: configDescriptor } = resolved.manifest;
    const blobs = new Blobs(store, resolved.repositories, options, signal);
    const config = start(readConfig(store, blobs, configDescriptor, layers.length, options));
    const arrivals = new Map<string, Arrival>();
    for (const layer of layers) {
      if (arrivals.has(layer.digest)) continue;
      const arrival = blobs.layer(layer);
      start(arrival.done);
      arrivals.set(layer.digest, arrival);
    }
    const { text, diffIds } = await config;
    const known = layers.map(
      ({ digest }, index) => arrivals.get(digest)!.present && store.layers.has(chainId(diffIds.slice(0, index + 1))),
    );
    const arriving = layers.map(({ digest }, index) => {
      return {
        diffId: diffIds[index]!,
        blob: digest,
        arrived: arrivals.get(digest)!.done,
        growing: arrivals.get(digest)!.growing,
      };
    });
    const unpacking = store.unpackAll(arriving, options.hold, {
      signal,
      onProgress(index, bytes) {
        const layer = layers[index]!;
        options.progress.advance("Extracting", shortId(layer), Math.min(bytes, layer.size), layer.size);
      },
      onDone: (index) =>
        options.progress.say(known[index] ? "Already exists" : "Pull complete", shortId(layers[index]!)),
    });
    await start(unpacking);
    options.hold.blob(sha256(resolved.bytes));
    const { digest, size } = await store.content.put(resolved.bytes);
    return store.row(text, { mediaType: resolved.mediaType, digest, size }, layers);
  } catch (error) {
    failure.abort(error);
    throw signal.reason;
  } finally {
    // Nothing of this may still write when the caller releases the hold.
    await Promise.all(running);
  }
}

async function readConfig(
  { content }: ImageStore,
  blobs: Blobs,
  descriptor: Descriptor,
  layers: number,
  { check }: FetchOptions,
): Promise<{ text: string; diffIds: string[] }> {
  if (descriptor.size > MAX_CONFIG || !descriptor.digest.startsWith("sha256:")) {
    throw invalid(`image config ${descriptor.digest} is too large or not named by sha256`);
  }
  await blobs.config(descriptor);
  const text = (await content.read(descriptor.digest, MAX_CONFIG)).toString();
  const config = parseImageConfig(text);
  check(config);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== layers) {
    throw invalid(`image config names ${diffIds.length} layers, the manifest ${layers}`);
  }
  return { text, diffIds };
}

interface Arrival {
  /** It was in the content store before. */
  present: boolean;
  done: Promise<void>;
  /** Worth to be unpacked before it is all here. */
  growing?: GrowingFile;
}

/** The blobs of one pull on their way into the content store: at most three at once, each at most once in the process. */
class Blobs {
  private readonly slots = new Slots(PARALLEL);

  constructor(
    private readonly store: ImageStore,
    private readonly repositories: Repository[],
    private readonly options: FetchOptions,
    private readonly signal: AbortSignal,
  ) {}

  config(descriptor: Descriptor): Promise<void> {
    return this.fetch(descriptor, { onProgress: () => {}, onRetry: () => {} });
  }

  layer(layer: Descriptor): Arrival {
    const { content } = this.store;
    const { hold, progress } = this.options;
    hold.blob(layer.digest);
    if (content.has(layer.digest)) {
      const fits = content.size(layer.digest) === layer.size;
      const wrong = () => invalid(`blob ${layer.digest} has not the ${layer.size} bytes its manifest says`);
      return { present: true, done: fits ? Promise.resolve() : Promise.reject(wrong()) };
    }
    const id = shortId(layer);
    progress.say("Pulling fs layer", id);
    if (this.slots.full) progress.say("Waiting", id);
    const growing = new GrowingFile(content.partial(layer.digest), layer.size);
    const onProgress = (current: number) => {
      growing.grown();
      progress.advance("Downloading", id, current, layer.size);
      if (current === layer.size) progress.say("Verifying Checksum", id);
    };
    const onRetry = (seconds: number) => progress.say(`Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id);
    const done = this.fetch(layer, { onProgress, onRetry })
      .finally(() => growing.end())
      .then(() => progress.say("Download complete", id));
    return { present: false, done, ...(layer.size >= FOLLOWED && { growing }) };
  }

  private fetch(
    descriptor: Descriptor,
    { onProgress, onRetry }: { onProgress(current: number): void; onRetry(seconds: number): void },
  ): Promise<void> {
    const { content, downloads } = this.store;
    const { repositories } = this;
    const { hold, patience } = this.options;
    hold.blob(descriptor.digest);
    const caller = { signal: this.signal, onEvent: onProgress };
    return this.slots.run(() =>
      downloads.run(descriptor.digest, caller, async (signal, emit) => {
        if (content.has(descriptor.digest)) return;
        await download({ repositories, descriptor, content, patience, signal, onProgress: emit, onRetry });
      }),
    );
  }
}

const shortId = (layer: Descriptor) => layer.digest.slice(layer.digest.indexOf(":") + 1).slice(0, 12);
