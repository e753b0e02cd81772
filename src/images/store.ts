import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { chainId, parseDigest, sha256 } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { Slots } from "../base/slots.ts";
import type { ContentStore } from "../content/store.ts";
import { decompress } from "../layers/compression.ts";
import type { GrowingFile } from "../layers/growing.ts";
import type { Layers } from "../layers/layers.ts";
import { type Descriptor, type ImageConfig, type Manifest, MEDIA } from "../spec/oci-image.ts";
import { parseImageConfig } from "./config.ts";
import { tagTarget } from "./find.ts";
import { Flights } from "./flights.ts";
import { type Hold, Holds } from "./holds.ts";
import type { Origins } from "./origins.ts";
import type { ImageRow, Records } from "./records.ts";
import { type Reference, repositoryName } from "./reference.ts";

/** A layer that is in the content store, before it is unpacked. */
export interface StoredLayer {
  blob: Descriptor;
  diffId: string;
}

export interface ArrivingLayer {
  diffId: string;
  /** Digest of the blob, which is in the content store once `arrived` has resolved. */
  blob: string;
  arrived?: Promise<unknown>;
  /** What there is of it until then. */
  growing?: GrowingFile | undefined;
}

export interface UnpackOptions {
  signal: AbortSignal;
  onProgress?(index: number, bytes: number): void;
  onDone?(index: number): void;
}

/** Each takes a processor. */
const MAX_UNPACKING = 4;

/** Records, blobs and layers together: what every operation on images works with. */
export class ImageStore {
  readonly holds: Holds;
  readonly downloads = new Flights<void, number>();
  private readonly unpacking = new Slots(Math.max(2, Math.min(availableParallelism(), MAX_UNPACKING)));

  /** Beside those, since a slow registry must not keep others waiting. */
  private readonly following = new Slots(availableParallelism() > 2 ? 2 : 1);

  constructor(
    readonly records: Records,
    readonly content: ContentStore,
    readonly layers: Layers,
    readonly origins: Origins,
  ) {
    this.holds = new Holds(records, content, layers);
  }

  /**
   * {@link unpack} of all layers of an image, as each has arrived, several at once where they may be. `onDone` hears of
   * them in order. The first failure ends the rest, and rejects when all have ended.
   */
  async unpackAll(layers: readonly ArrivingLayer[], hold: Hold, options: UnpackOptions): Promise<void> {
    const diffIds = layers.map(({ diffId }) => diffId);
    const apart = this.layers.apart(diffIds);
    const failure = new AbortController();
    const signal = AbortSignal.any([options.signal, failure.signal]);
    let below: Promise<void> = Promise.resolve();
    const works = layers.map((layer, index) => {
      const before = apart ? undefined : below;
      below = (async () => {
        if (apart && (await this.follow(diffIds, index, layer, hold, signal))) return;
        await layer.arrived;
        await before;
        const onProgress = (bytes: number) => options.onProgress?.(index, bytes);
        await this.unpacking.run(() => this.unpack(diffIds, index, layer.blob, hold, { signal, onProgress, apart }));
      })();
      below.catch((error) => failure.abort(error));
      return below;
    });
    try {
      for (const [index, work] of works.entries()) {
        await work;
        options.onDone?.(index);
      }
      await this.layers.prepare(diffIds);
    } catch (error) {
      failure.abort(error);
      await Promise.allSettled(works);
      throw signal.reason;
    }
  }

  /**
   * Unpacks a layer while it still arrives. False where it is not done, for whatever reason: who then unpacks all of it
   * meets the reason again, if it was not the way it came.
   */
  private async follow(
    diffIds: string[],
    index: number,
    { blob, growing, arrived }: ArrivingLayer,
    hold: Hold,
    signal: AbortSignal,
  ): Promise<boolean> {
    const chain = chainId(diffIds.slice(0, index + 1));
    await growing?.begun;
    if (!growing || growing.ended || !blob.startsWith("sha256:") || this.following.full || this.layers.has(chain))
      return false;
    hold.chain(chain);
    const source = { path: growing.path, digest: blob, growing };
    const layer = { source, diffId: diffIds[index]!, parents: diffIds.slice(0, index) };
    try {
      await this.following.run(() => this.layers.apply({ ...layer, covered: true, apart: true, signal }));
    } catch {
      signal.throwIfAborted();
      return false;
    }
    await arrived;
    return this.content.has(blob);
  }

  /**
   * Unpacks layer `index` of the image with these diffIDs, unless it is; those below must be there. Either way the blob
   * is verified against its diffID.
   */
  async unpack(
    diffIds: string[],
    index: number,
    blob: string,
    hold: Hold,
    options: { signal: AbortSignal; apart: boolean; onProgress(bytes: number): void },
  ): Promise<void> {
    const diffId = diffIds[index]!;
    const chain = chainId(diffIds.slice(0, index + 1));
    hold.chain(chain);
    if (this.layers.has(chain)) return this.verify(blob, diffId, options.signal);
    const parents = diffIds.slice(0, index);
    const source = { path: this.content.path(blob), ...(blob.startsWith("sha256:") && { digest: blob }) };
    await this.layers.apply({ source, parents, diffId, covered: true, ...options });
  }

  /** What unpacking would have verified: without it a wrong blob could be saved and pushed under a right config. */
  private async verify(blob: string, diffId: string, signal: AbortSignal): Promise<void> {
    if (blob === diffId || this.records.isLayerKnown(diffId, blob)) return;
    const hash = createHash(parseDigest(diffId).algorithm);
    for await (const chunk of decompress(this.content.stream(blob))) {
      signal.throwIfAborted();
      hash.update(chunk);
    }
    const actual = `${parseDigest(diffId).algorithm}:${hash.digest("hex")}`;
    if (actual !== diffId) throw invalid(`layer ${blob}: its diffID is ${actual}, the image says ${diffId}`);
  }

  /** The row of an image whose blobs and unpacked layers are all there and held. Records nothing. */
  row(configText: string, manifest: Descriptor, blobs: Descriptor[]): Omit<ImageRow, "config"> {
    const config = parseImageConfig(configText);
    checkOs(config);
    const diffIds = config.rootfs.diff_ids;
    if (diffIds.length !== blobs.length) {
      throw invalid(`image config names ${diffIds.length} layers, the manifest ${blobs.length}`);
    }
    const layers = blobs.map((blob, index) => {
      const chain = chainId(diffIds.slice(0, index + 1));
      return { diffId: diffIds[index]!, chainId: chain, blob };
    });
    const size = layers.reduce((sum, layer) => sum + this.layers.size(layer.chainId), 0);
    const created = config.created === undefined ? undefined : new Date(config.created).toISOString();
    return { id: sha256(configText), configText, manifest, size, created: created ?? "0001-01-01T00:00:00Z", layers };
  }

  /** Unpacks and describes an image whose layers are stored and held. Stores config and manifest; records nothing. */
  async prepare(
    configText: string,
    layers: StoredLayer[],
    hold: Hold,
    options: {
      signal: AbortSignal;
      annotations?: Record<string, string> | undefined;
      onProgress?(layer: StoredLayer, bytes: number): void;
    },
  ): Promise<Omit<ImageRow, "config">> {
    const config = parseImageConfig(configText);
    checkOs(config);
    const diffIds = config.rootfs.diff_ids;
    if (diffIds.length !== layers.length || diffIds.some((diffId, i) => diffId !== layers[i]!.diffId)) {
      throw invalid(`image config names ${diffIds.length} layers that are not the ${layers.length} given`);
    }
    const blobsOf = layers.map(({ diffId, blob }) => ({ diffId, blob: blob.digest }));
    await this.unpackAll(blobsOf, hold, {
      signal: options.signal,
      onProgress: (index, bytes) => options.onProgress?.(layers[index]!, bytes),
    });
    const configBlob = await this.put(configText, hold);
    const blobs = layers.map((layer) => layer.blob);
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: { mediaType: MEDIA.ociConfig, ...configBlob },
      layers: blobs,
      ...(options.annotations ? { annotations: options.annotations } : {}),
    };
    const manifestBlob = await this.put(JSON.stringify(manifest), hold);
    return this.row(configText, { mediaType: MEDIA.ociManifest, ...manifestBlob }, blobs);
  }

  /** See {@link Images.create}. */
  async create(options: {
    config: string;
    layers: StoredLayer[];
    tags?: string[];
    annotations?: Record<string, string>;
    signal?: AbortSignal;
  }): Promise<string> {
    const targets = (options.tags ?? []).map((tag) => tagTarget(tag, undefined));
    const hold = this.holds.open();
    try {
      for (const layer of options.layers) hold.blob(layer.blob.digest);
      const signal = options.signal ?? new AbortController().signal;
      const { annotations } = options;
      return await this.finish(options.config, options.layers, hold, { signal, targets, annotations });
    } finally {
      hold.release();
    }
  }

  /** {@link prepare}, and the image is recorded under its names once all of it survives a power cut. Answers the id. */
  async finish(
    configText: string,
    layers: StoredLayer[],
    hold: Hold,
    options: {
      signal: AbortSignal;
      targets: readonly Reference[];
      annotations?: Record<string, string> | undefined;
    },
  ): Promise<string> {
    const row = await this.prepare(configText, layers, hold, options);
    const named = ({ tag, ...rest }: Reference) => this.records.tagged(repositoryName(rest), tag!) === row.id;
    // As a build that came out of its cache: nothing to write, and no disk to wait for.
    if (this.records.get(row.id) && options.targets.every(named)) return row.id;
    await this.layers.sync();
    this.records.transaction(() => {
      this.records.add(row);
      for (const target of options.targets) this.records.setTag(repositoryName(target), target.tag!, row.id);
    });
    return row.id;
  }

  private put(text: string, hold: Hold): Promise<{ digest: string; size: number }> {
    hold.blob(sha256(text));
    return this.content.put(Buffer.from(text));
  }
}

/** Throws invalid for an image that no Linux kernel can run. */
export function checkOs({ os }: ImageConfig): void {
  if (os !== "linux") throw invalid(`image operating system ${JSON.stringify(os)} cannot be used on this platform`);
}
