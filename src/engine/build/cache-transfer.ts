import { createHash } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { invalid, messageOf, notImplemented } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import type { CacheMounts } from "../../build/ops/cache-mounts.ts";
import { Progress } from "../../build/progress.ts";
import {
  CACHE_DOCUMENT,
  type CacheDocument,
  MAX_CACHE_LAYERS,
  MAX_DOCUMENT,
  parseCacheDocument,
} from "../../build/transfer/document.ts";
import { type CacheSource, ImportedCaches } from "../../build/transfer/imported.ts";
import type { ContentStore } from "../../content/store.ts";
import type { ArtifactFile } from "../../images/artifacts.ts";
import { parseReference } from "../../images/reference.ts";
import { compressInChild } from "../../layers/apply-command.ts";
import { readFileChunks } from "../../layers/compression.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import type { BuildEvent } from "../../spec/build.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import type { Context } from "../context.ts";
import { compressedLayer } from "./compressed-layer.ts";

/** `--cache-from` and `--cache-to`, as their words say. */
export interface CacheOption {
  readonly ref: string;
  /** RUN cache mounts too. */
  readonly mounts: boolean;
  readonly mode: "min" | "max";
  readonly ignoreError: boolean;
}

const WORDS = new Set(["type", "ref", "mode", "mounts", "ignore-error"]);

/** Errors are invalid, and notImplemented for a kind of cache that is not there. */
export function cacheOption(given: Readonly<Record<string, string>>, flag: string): CacheOption {
  const { type = "registry", ref = "", mode = "min" } = given;
  if (type !== "registry")
    throw notImplemented(`${flag}: type=${type.slice(0, 60)} is not supported: use type=registry`);
  const unknown = Object.keys(given).find((word) => !WORDS.has(word));
  if (unknown !== undefined) throw invalid(`${flag}: unknown word ${JSON.stringify(unknown.slice(0, 60))}`);
  if (ref === "") throw invalid(`${flag}: type=registry needs ref=NAME`);
  parseReference(ref);
  if (mode !== "min" && mode !== "max") throw invalid(`${flag}: mode is min or max, not ${mode.slice(0, 60)}`);
  return { ref, mode, mounts: given.mounts === "true", ignoreError: given["ignore-error"] === "true" };
}

type Auth = (reference: string) => RegistryAuth | undefined;

/** Caches of builds at registries. */
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
    auth: Auth,
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<ImportedCaches> {
    const progress = new Progress(report, "cache-import");
    const sources = await Promise.all(
      options.map(async (option): Promise<CacheSource | undefined> => {
        try {
          return await progress.during(`importing cache manifest from ${option.ref}`, () =>
            this.#open(option, auth, signal),
          );
        } catch (error) {
          signal.throwIfAborted();
          report({ warnings: [{ short: `cache ${option.ref} is not used: ${messageOf(error)}` }] });
          return undefined;
        }
      }),
    );
    return new ImportedCaches(sources.filter((source) => source !== undefined));
  }

  async #open({ ref: reference, mounts }: CacheOption, auth: Auth, signal: AbortSignal): Promise<CacheSource> {
    const artifact = await this.ctx.images.openArtifact({ reference, auth: auth(reference), signal });
    const { config, layers } = artifact.manifest;
    if (config.mediaType !== CACHE_DOCUMENT) throw invalid(`${reference} is no cache of inro's builds`);
    const document = parseCacheDocument((await artifact.config(MAX_DOCUMENT, signal)).toString(), layers.length);
    const source = { document, layers, fetch: artifact.fetch };
    if (mounts) await this.#importMounts(source, signal);
    return source;
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

  /** Pushes what a build came to. Where it fails nothing is under the name that was not before. */
  async export(
    result: BuildResult,
    option: CacheOption,
    auth: Auth,
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const progress = new Progress(report, `cache-export ${option.ref}`);
    try {
      await progress.during(`exporting cache to ${option.ref}`, () => this.#export(result, option, auth, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (!option.ignoreError) throw error;
      report({ warnings: [{ short: `cache ${option.ref} was not exported: ${messageOf(error)}` }] });
    }
  }

  async #export({ cache }: BuildResult, option: CacheOption, auth: Auth, signal: AbortSignal): Promise<void> {
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
      for (const { key, chain, parent, description, layer } of cache.records(option.mode)) {
        const known = { key, chain, parent, description: description.slice(0, 1000) };
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
      const selections = [...new Map(cache.selections.map((one) => [`${one[0]} ${one[1]}`, one])).values()];
      const document: CacheDocument = { version: 1, records, selections, mounts, diffIds };
      const data = Buffer.from(JSON.stringify(document));
      if (data.length > MAX_DOCUMENT) throw invalid(`the cache's document is larger than ${MAX_DOCUMENT} bytes`);
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
