import { createHash } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { invalid, messageOf } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import type { CacheMounts } from "../../build/ops/cache-mounts.ts";
import { Progress } from "../../build/progress.ts";
import {
  CACHE_DOCUMENT,
  type CacheDocument,
  documented,
  MAX_CACHE_LAYERS,
  MAX_DOCUMENT,
  parseCacheDocument,
} from "../../build/transfer/document.ts";
import { type CacheSource, ImportedCaches } from "../../build/transfer/imported.ts";
import type { ContentStore } from "../../content/store.ts";
import type { ArtifactFile } from "../../images/artifacts.ts";
import { MAX_CONFIG } from "../../images/config.ts";
import { compressInChild } from "../../layers/apply-command.ts";
import { readFileChunks } from "../../layers/compression.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import type { BuildEvent } from "../../spec/build.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import type { Context } from "../context.ts";
import { inlineCache } from "./cache-inline.ts";
import { type ClientFiles, layoutTar, openLayout } from "./cache-layout.ts";
import { type CacheOption, nameOfCache } from "./cache-options.ts";
import { compressedLayer } from "./compressed-layer.ts";

/** How a cache is reached. */
export interface CacheReach {
  auth(reference: string): RegistryAuth | undefined;
  /** A directory of the client's, by its number; absent: there are none. */
  files?(number: number): Promise<ClientFiles>;
  /** Sends a tar of what is to be in such a directory. */
  give?(number: number, tar: AsyncIterable<Uint8Array>): Promise<void>;
}

/** Caches of builds that are elsewhere: at registries, with images, in directories of clients. */
export class CacheTransfer {
  constructor(
    private readonly ctx: Context,
    private readonly content: ContentStore,
    private readonly mounts: CacheMounts,
    /** For what is made on the way. */
    private readonly directory: string,
  ) {}

  /** What of the caches is to be had; of the others `report` hears, since a build goes on without. */
  async open(
    options: readonly CacheOption[],
    reach: CacheReach,
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<ImportedCaches> {
    const progress = new Progress(report, "cache-import");
    const sources = await Promise.all(
      options.map(async (option): Promise<CacheSource[]> => {
        const name = nameOfCache(option);
        try {
          return await progress.during(`importing cache manifest from ${name}`, () =>
            this.#open(option, reach, signal),
          );
        } catch (error) {
          signal.throwIfAborted();
          report({ warnings: [{ short: `cache ${name} is not used: ${messageOf(error)}` }] });
          return [];
        }
      }),
    );
    return new ImportedCaches(sources.flat());
  }

  async #open(option: CacheOption, reach: CacheReach, signal: AbortSignal): Promise<CacheSource[]> {
    if (option.type === "inline") return [];
    const sources =
      option.type === "registry"
        ? await this.#atRegistry(option.ref, reach, signal)
        : [await openLayout(await filesOf(reach, option.files), option, this.content, signal)];
    if (option.mounts) for (const source of sources) await this.#importMounts(source, signal);
    return sources;
  }

  /** A cache of its own, or those in the configurations of images, one a platform. */
  async #atRegistry(reference: string, { auth }: CacheReach, signal: AbortSignal): Promise<CacheSource[]> {
    const artifacts = await this.ctx.images.openArtifacts({ reference, auth: auth(reference), signal });
    const sources: CacheSource[] = [];
    for (const { manifest, config, fetch } of artifacts) {
      const { layers } = manifest;
      const own = manifest.config.mediaType === CACHE_DOCUMENT;
      const text = (await config(own ? MAX_DOCUMENT : MAX_CONFIG, signal)).toString();
      const document = own ? parseCacheDocument(text, layers.length) : inlineCache(text, layers.length);
      if (document) sources.push({ document, layers, fetch });
    }
    if (sources.length === 0) throw invalid(`${reference} is no cache of inro's builds`);
    return sources;
  }

  /** Of ids that have no cache here. */
  async #importMounts({ document, layers, fetch }: CacheSource, signal: AbortSignal): Promise<void> {
    const { content } = this;
    const { images } = this.ctx;
    const there = new Set((await this.mounts.list()).map(({ id }) => id));
    for (const { id, layer } of document.mounts) {
      if (there.has(id)) continue;
      const hold = images.hold();
      try {
        const { digest } = layers[layer]!;
        hold.blob(digest);
        await fetch(layers[layer]!, signal);
        await this.mounts.import(id, readFileChunks(content.path(digest)), signal);
      } finally {
        hold.release();
      }
    }
  }

  /** Sends what a build came to. Where it fails nothing is under the name that was not before. */
  async export(
    result: BuildResult,
    option: CacheOption,
    reach: CacheReach,
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    // It has gone where its image has.
    if (option.type === "inline") return;
    const name = nameOfCache(option);
    const progress = new Progress(report, `cache-export ${name}`);
    try {
      await progress.during(`exporting cache to ${name}`, () => this.#export(result, option, reach, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (!option.ignoreError) throw error;
      report({ warnings: [{ short: `cache ${name} was not exported: ${messageOf(error)}` }] });
    }
  }

  async #export(
    { cache }: BuildResult,
    option: Exclude<CacheOption, { type: "inline" }>,
    { auth, give }: CacheReach,
    signal: AbortSignal,
  ): Promise<void> {
    const directory = await mkdtemp(join(this.directory, "cache-"));
    try {
      const files: ArtifactFile[] = [];
      const diffIds: (string | null)[] = [];
      const numbers = new Map<string, number>();
      const add = (file: ArtifactFile, diffId: string | null) => {
        if (files.length >= MAX_CACHE_LAYERS)
          throw invalid(`a cache of more than ${MAX_CACHE_LAYERS} layers: export less (mode=min)`);
        files.push(file);
        return diffIds.push(diffId) - 1;
      };
      const records: CacheDocument["records"][number][] = [];
      for (const record of cache.records(option.mode)) {
        const { layer } = record;
        const known = documented(record);
        if (!layer) records.push(known);
        // What another cache said and nothing needed is only there.
        else if (this.content.has(layer.blob.digest)) {
          const before = numbers.get(layer.diffId);
          const number =
            before ?? add(await compressedLayer(this.content, layer.blob, directory, signal), layer.diffId);
          numbers.set(layer.diffId, number);
          records.push({ ...known, layer: number });
        }
      }
      const mounts: CacheDocument["mounts"][number][] = [];
      for (const id of option.mounts ? cache.mounts : []) {
        const tar = this.mounts.export(id, signal);
        if (tar) mounts.push({ id, layer: add(await this.#mount(tar, directory, signal), null) });
      }
      const document: CacheDocument = { version: 1, records, selections: cache.selections, mounts, diffIds };
      const data = Buffer.from(JSON.stringify(document));
      if (data.length > MAX_DOCUMENT) throw invalid(`the cache's document is larger than ${MAX_DOCUMENT} bytes`);
      if (option.type === "local") {
        if (!give) throw invalid("there is no directory of the client's to put the cache into");
        return await give(option.files, layoutTar(data, files, option));
      }
      const { ref: reference } = option;
      const artifact = { artifactType: CACHE_DOCUMENT, config: { mediaType: CACHE_DOCUMENT, data }, layers: files };
      await this.ctx.images.pushArtifact({ reference, auth: auth(reference), signal }, artifact);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #mount(tar: AsyncIterable<Uint8Array>, directory: string, signal: AbortSignal): Promise<ArtifactFile> {
    const source = join(directory, "mount");
    const hash = createHash("sha256");
    const file = await open(source, "wx", 0o600);
    try {
      for await (const chunk of tar) {
        hash.update(chunk);
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    const digest = `sha256:${hash.digest("hex")}`;
    const target = join(directory, `mount-${digest.slice("sha256:".length)}`);
    const made = await compressInChild({ source, digest, target, form: "gzip" }, signal);
    await rm(source);
    return { descriptor: { mediaType: MEDIA.ociLayerGzip, ...made }, path: target };
  }
}

async function filesOf({ files }: CacheReach, number: number): Promise<ClientFiles> {
  if (!files) throw invalid("there is no directory of the client's to read the cache of");
  return await files(number);
}
