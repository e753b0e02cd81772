import type { Database } from "bun:sqlite";
import type { ContentStore } from "../content/store.ts";
import type { LayerForm, Layers } from "../layers/layers.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import type { Registries } from "../registry/endpoint.ts";
import type { Patience } from "../registry/http.ts";
import type { Artifact } from "../registry/referrers.ts";
import { searchRegistry } from "../registry/search.ts";
import type {
  DistributionInspect,
  HistoryEntry,
  ImageInspect,
  ImageReferrers,
  RegistryManifest,
  SearchResult,
  StreamMessage,
} from "../spec/docker-api.ts";
import type { Descriptor } from "../spec/oci-image.ts";
import { type OpenArtifact, openArtifacts, type PlatformImage, pushArtifact, pushIndex } from "./artifacts.ts";
import { type CommitOptions, commit } from "./commit.ts";
import { type CopyOptions, copy } from "./copy.ts";
import {
  type AskOptions,
  attachArtifact,
  distribution,
  imageReferrers,
  putRegistryManifest,
  registryManifest,
} from "./distribution.ts";
import { findImage, noSuchImage, tagTarget } from "./find.ts";
import type { Hold } from "./holds.ts";
import { type ImportOptions, importTar } from "./import.ts";
import { type ImageRecord, toHistory, toInspect, toRecord } from "./inspect.ts";
import { load } from "./load.ts";
import { Origins } from "./origins.ts";
import { type PullContext, type PullOptions, pull } from "./pull.ts";
import { type PushOptions, push } from "./push.ts";
import { type ImageRow, Records } from "./records.ts";
import { repositoryName } from "./reference.ts";
import { collectRemoved, type Removal, type RemoveOptions, removeImage } from "./remove.ts";
import { save, savedBlobs, savedIds, saveUnrecorded, type UnrecordedImages } from "./save.ts";
import { ImageStore, type StoredLayer } from "./store.ts";
import { type Damage, verifyStore } from "./verify.ts";

export type { ImportOptions } from "./import.ts";
export type { ImageRecord } from "./inspect.ts";
export type { PullOptions } from "./pull.ts";
export type { PushOptions } from "./push.ts";
export type { ImageUser, Removal } from "./remove.ts";

export interface ImagesOptions {
  /** Shared with others; images/ has its own tables. */
  db: Database;
  content: ContentStore;
  layers: Layers;
  /** For archives while they are read; the system's temporary directory when absent. */
  tempDir?: string;
  /** How registries are reached, asked at each pull. */
  registries?: () => Registries;
  patience?: Patience;
}

export interface LoadOptions {
  source: AsyncIterable<Uint8Array>;
  onMessage(message: StreamMessage): void;
  signal?: AbortSignal;
}

/**
 * The images of an engine. An image is its record; blobs and unpacked layers live as long as a record or an operation
 * in progress needs them. Names in arguments are what users write; errors are InroError in docker's words.
 */
export class Images {
  private readonly store: ImageStore;
  private readonly tempDir: string | undefined;
  private readonly uses = new Map<string, number>();

  constructor(private readonly options: ImagesOptions) {
    this.store = new ImageStore(new Records(options.db), options.content, options.layers, new Origins(options.db));
    this.tempDir = options.tempDir;
  }

  /** How layers to come are kept. */
  get layerForm(): LayerForm {
    return this.options.layers.form;
  }

  /** Newest first. */
  list(): ImageRecord[] {
    return this.store.records.ids().map((id) => toRecord(this.store, this.store.records.get(id)!));
  }

  /** By name, `name@digest`, id or prefix of an id. notFound `No such image: X:latest`; invalid when ambiguous. */
  find(nameOrId: string): ImageRecord {
    return toRecord(this.store, this.row(nameOrId));
  }

  inspect(nameOrId: string): ImageInspect {
    return toInspect(this.store, this.row(nameOrId));
  }

  /** Newest first. */
  history(nameOrId: string): HistoryEntry[] {
    return toHistory(this.store, this.row(nameOrId));
  }

  /** Bytes of its unpacked layers, by chain id: images share layers. */
  layerSizes(nameOrId: string): ReadonlyMap<string, number> {
    const { layers } = this.row(nameOrId);
    return new Map(layers.map(({ chainId }) => [chainId, this.store.layers.size(chainId)]));
  }

  /** Files and directories that an image needs on the disk; other images may need them too. */
  pathsOf(nameOrId: string): string[] {
    const { content, layers } = this.store;
    const { id, manifest, layers: own } = this.row(nameOrId);
    const blobs = [id, manifest.digest, ...own.map(({ blob }) => blob.digest)];
    return [
      ...own.map(({ chainId }) => layers.directory(chainId)),
      ...blobs.flatMap((digest) => (content.has(digest) ? [content.path(digest)] : [])),
    ];
  }

  /** Whether an image has this layer. */
  hasLayer(chain: string): boolean {
    return this.store.records.isChainUsed(chain);
  }

  /** Of its manifest. */
  manifest(nameOrId: string): Descriptor {
    return this.row(nameOrId).manifest;
  }

  /** Its layers as they are stored, base first. */
  storedLayers(nameOrId: string): StoredLayer[] {
    return this.row(nameOrId).layers.map(({ diffId, blob }) => ({ diffId, blob }));
  }

  /** Files with its layers' tars as they are stored, base first; they stay until the caller releases the hold. */
  layerFiles(nameOrId: string): { layers: { diffId: string; path: string }[]; hold: Hold } {
    const { layers } = this.row(nameOrId);
    const hold = this.store.holds.open();
    try {
      for (const { blob } of layers) hold.blob(blob.digest);
      return {
        layers: layers.map(({ diffId, blob }) => ({ diffId, path: this.store.content.path(blob.digest) })),
        hold,
      };
    } catch (error) {
      hold.release();
      throw error;
    }
  }

  /** Gives an image one more name; another image that had it stays, without it. */
  tag(source: string, repository: string, tag?: string): void {
    const { id } = findImage(this.store.records, source);
    if (!this.store.records.get(id)) throw noSuchImage(source);
    const target = tagTarget(repository, tag);
    this.store.records.setTag(repositoryName(target), target.tag!, id);
  }

  /** Docker's rmi. conflict when containers or other names need the image. */
  remove(nameOrId: string, options: RemoveOptions): Removal {
    collectRemoved(this.store, options.users);
    return removeImage(this.store, nameOrId, options);
  }

  /** Deletes the layers of images that were removed by force while containers used them, once `users` names none. */
  collect(users: RemoveOptions["users"]): void {
    collectRemoved(this.store, users);
  }

  /**
   * Deletes blobs and layers that no image needs: what a crash left. Not while a pull, load or import runs in another
   * process. `keep` says what others (a build cache) still need. Answers how many were deleted.
   */
  sweep(keep: { blob?(digest: string): boolean; layer?(chainId: string): boolean } = {}): {
    blobs: number;
    layers: number;
  } {
    const { content, layers, holds } = this.store;
    const before = content.list().length;
    const blobs = content
      .list()
      .map((blob) => blob.digest)
      .filter((digest) => !keep.blob?.(digest));
    const deleted = holds.sweep(
      blobs,
      layers.list().filter((chain) => !keep.layer?.(chain)),
    );
    return { blobs: before - content.list().length, layers: deleted.length };
  }

  /** When an image was used, if not before; milliseconds since the epoch. In memory until {@link keepUses}. */
  noteUse(id: string, when = Date.now()): void {
    this.uses.set(id, when);
  }

  /** Puts on the disk when images were used, and answers it. One that nobody used has been since it got its last name. */
  keepUses(): Map<string, number> {
    const { records } = this.store;
    const uses = records.uses(this.uses);
    this.uses.clear();
    for (const id of records.ids()) {
      const tagged = Date.parse(records.lastTagged(id) ?? "");
      if (!Number.isNaN(tagged)) uses.set(id, Math.max(uses.get(id) ?? 0, tagged));
    }
    return uses;
  }

  /** Waits until what was removed has freed its space. */
  async settled(): Promise<void> {
    await this.store.layers.sync();
    await this.store.content.settled();
  }

  /** See {@link verifyStore}. Takes as long as reading all of it. */
  verify(options: { repair: boolean; isUsed(imageId: string): boolean }): Promise<Damage[]> {
    return verifyStore(this.store, options);
  }

  /**
   * Pulls from a registry and reports as docker does. Rejects with notFound, unauthorized, unavailable or invalid, or
   * with the signal's reason; then nothing is left but partial downloads, which the next pull takes up.
   */
  pull(options: PullOptions): Promise<void> {
    return pull(this.#context, options);
  }

  /**
   * Pushes one tag or all of a repository, and reports as docker does. An image goes as it came, with its digest; layers
   * made here are compressed. Rejects with notFound, unauthorized, forbidden, unavailable or invalid, or with the signal's
   * reason.
   */
  push(options: PushOptions): Promise<void> {
    return push({ ...this.#context, tempDir: this.tempDir }, options);
  }

  /**
   * Copies from one repository to another, an index with all that is in it, by way of this machine's memory: nothing is
   * stored here. Reports as push does. Rejects as {@link pull} and {@link push}.
   */
  copy(options: CopyOptions): Promise<void> {
    return copy(this.#context, options);
  }

  /** Blobs that {@link save} of these names writes. */
  blobs(names: string[]): { digest: string; size: number }[] {
    return savedBlobs(this.store, names);
  }

  /** Those of the given that are not here. */
  missing(digests: readonly string[]): string[] {
    return digests.filter((digest) => !this.store.content.has(digest));
  }

  /** What a registry finds for `[HOST/]TERM`, at most `limit`. Rejects with invalid, or unavailable. */
  search(
    term: string,
    limit: number,
    options: { auth?: RegistryAuth | undefined; signal?: AbortSignal | undefined },
  ): Promise<SearchResult[]> {
    return searchRegistry(term, limit, { ...options, registries: this.#context.registries });
  }

  /** Asks a registry what a reference is, and for which platforms. Rejects as {@link pull}. */
  distribution(options: AskOptions): Promise<DistributionInspect> {
    return distribution(this.#context, options);
  }

  /** Attaches an artifact to a manifest (`subject`, its digest) in the reference's repository. Rejects as {@link push}. */
  attach(options: AskOptions & { subject: string; artifact: Artifact }): Promise<Descriptor> {
    return attachArtifact(this.#context, options);
  }

  /**
   * Manifests at a registry whose layers are fetched one by one, those of an index or the one; they need not be images'.
   * Rejects as {@link pull}.
   */
  openArtifacts(options: AskOptions): Promise<OpenArtifact[]> {
    return openArtifacts(this.#context, options);
  }

  /** Pushes files under a tag, their manifest last. Rejects as {@link push}. */
  pushArtifact(options: AskOptions, artifact: Parameters<typeof pushArtifact>[2]): Promise<Descriptor> {
    return pushArtifact(this.#context, options, artifact);
  }

  /**
   * Pushes images of several platforms under one tag, their index last. Answers its descriptor and those of the images,
   * in their order. Rejects as {@link push}.
   */
  pushIndex(
    options: AskOptions,
    images: readonly PlatformImage[],
    annotations?: Record<string, string>,
  ): ReturnType<typeof pushIndex> {
    return pushIndex(this.#context, options, images, annotations);
  }

  /** A manifest or index at a registry, as it is. Rejects as {@link pull}. */
  registryManifest(options: AskOptions): Promise<RegistryManifest> {
    return registryManifest(this.#context, options);
  }

  /** Pushes a manifest or index under a name, of what the repository has already. Rejects as {@link push}. */
  putRegistryManifest(options: AskOptions & { manifest: Buffer }): Promise<Descriptor> {
    return putRegistryManifest(this.#context, options);
  }

  /** What is attached to an image at its registry: signatures, attestations. Rejects as {@link pull}. */
  referrers(options: AskOptions & { artifactType?: string | undefined }): Promise<ImageReferrers> {
    return imageReferrers(this.#context, options);
  }

  /** Makes an image of one layer from a tar of a root file system, of any compression. Answers the id. */
  importTar(options: ImportOptions): Promise<string> {
    return importTar(this.store, this.tempDir, options);
  }

  /**
   * Makes an image of another and a layer more (docker commit). Its names in arguments are checked before the layer is
   * read; a failure leaves nothing. Answers the id.
   */
  commit(options: CommitOptions): Promise<string> {
    return commit(this.store, this.tempDir, options);
  }

  /** Loads all images of a docker-archive or OCI layout, of any compression. All or none. Answers their ids. */
  load(options: LoadOptions): Promise<string[]> {
    return load(this.store, this.tempDir, options);
  }

  /** A tar that is an OCI layout and a docker-archive in one. Names are checked before the first byte. */
  save(names: string[], without?: ReadonlySet<string>): AsyncIterable<Uint8Array> {
    return save(this.store, names, without);
  }

  /** Of the images that {@link save} writes. */
  savedIds(names: string[]): string[] {
    return savedIds(this.store, names);
  }

  /** {@link save} of images that are recorded nowhere; `layers` as of {@link create}. */
  archive(options: UnrecordedImages): AsyncIterable<Uint8Array> {
    return saveUnrecorded(this.store, options);
  }

  /** Keeps blobs and layers from being deleted while an image is made of them; the caller releases it. */
  hold(): Hold {
    return this.store.holds.open();
  }

  /**
   * Records an image made here (commit, build). `config` is its configuration as JSON; `layers` are in the content
   * store, base first, and held by the caller. Unpacks what is not. Answers the id.
   */
  create(options: {
    config: string;
    layers: StoredLayer[];
    tags?: string[];
    annotations?: Record<string, string>;
    signal?: AbortSignal;
  }): Promise<string> {
    return this.store.create(options);
  }

  get #context(): PullContext {
    const { registries = () => ({}), patience } = this.options;
    return { store: this.store, registries: registries(), ...(patience ? { patience } : {}) };
  }

  private row(nameOrId: string): ImageRow {
    const { id } = findImage(this.store.records, nameOrId);
    return this.store.records.get(id, true)!;
  }
}
