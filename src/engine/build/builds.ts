import { createReadStream, existsSync, mkdirSync, readdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { conflict, InroError, invalid, messageOf, unavailable } from "../../base/errors.ts";
import { Builder, type BuildRequest, type BuildResult } from "../../build/builder.ts";
import { BuildCache } from "../../build/cache.ts";
import { MAX_DOCKERFILE } from "../../build/dockerfile/parse.ts";
import type { BaseImage } from "../../build/frontend/options.ts";
import { wholeName } from "../../build/frontend/plan.ts";
import { CacheMounts } from "../../build/ops/cache-mounts.ts";
import { removeLeftSecrets } from "../../build/ops/secret-file.ts";
import type { Ops } from "../../build/ops.ts";
import type { OpenContext } from "../../build/roots.ts";
import { Solver } from "../../build/solver.ts";
import type { StepContext } from "../../build/step.ts";
import { choosePlatform, formatPlatform, hostPlatform, samePlatform, satisfies } from "../../images/platform.ts";
import { detectCompression } from "../../layers/compression.ts";
import type { Layers } from "../../layers/layers.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import { parseManifest } from "../../registry/manifest.ts";
import { findKeepers } from "../../runtime/running.ts";
import type { BuildEvent, BuildPruneResponse } from "../../spec/build.ts";
import type { BuildBody } from "../../spec/build-stream.ts";
import type { Platform } from "../../spec/oci-image.ts";
import { CGROUP_ROOT } from "../config/to-spec.ts";
import type { Context } from "../context.ts";
import { isHostImage } from "../host-image.ts";
import { endKeeper } from "../reconcile.ts";
import { CacheTransfer } from "./cache-transfer.ts";
import { endSteps, removeCgroup } from "./cgroups.ts";
import { Contexts, leftToReconcile } from "./contexts.ts";
import { Exporter } from "./exporter.ts";
import { stepNetwork } from "./network.ts";
import { stepSpec } from "./step-spec.ts";
import { type CacheEntry, type PruneRequest, pruneEntries } from "./usage.ts";

/** A build of this engine's: what its client can be asked for. */
export interface EngineBuild extends BuildRequest {
  /** Of RUN: files of the client, never kept. */
  secret?(id: string): Promise<Uint8Array | undefined>;
  agent?(id: string): Promise<string | undefined>;
}

/** Records that were of no use for so long are given up, and the oldest when all take more than a part of the disk. */
const UNUSED_FOR = "1440h";
const KEPT_PART = 0.2;
const LEAST_KEPT = 2 * 2 ** 30;

/** A tar, or what may be a compressed one. */
const isArchive = (head: Buffer) => detectCompression(head) !== "none" || head.toString("latin1", 257, 262) === "ustar";

/** As people see it. */
const idOf = (key: string) => key.slice("sha256:".length, "sha256:".length + 25);

/** Builds images, and keeps what they came to. */
export class Builds {
  readonly cache: BuildCache;
  readonly contexts: Contexts;
  readonly cacheMounts: CacheMounts;
  readonly transfer: CacheTransfer;
  readonly exporter: Exporter;
  readonly #builder: Builder<EngineBuild>;
  private readonly layers: Layers;
  readonly #cgroup: string;
  /** Where an earlier engine was killed in the middle of steps. */
  readonly #left: string | undefined;
  #running = 0;
  #collecting: Promise<void> | undefined;
  readonly #leaving = new AbortController();

  constructor(
    private readonly ctx: Context,
    private readonly ops: Ops,
    private readonly parts: Pick<ConstructorParameters<typeof Solver<EngineBuild>>[0], "content" | "layers">,
  ) {
    this.layers = parts.layers;
    this.#cgroup = join(CGROUP_ROOT, `build-${ctx.store.engineId.slice(0, 12)}`);
    this.cache = new BuildCache(ctx.store.db, () => ctx.images.hold());
    this.contexts = new Contexts(join(ctx.paths.build, "contexts"), ctx.trash, ctx.paths.temporary);
    this.cacheMounts = new CacheMounts(join(ctx.paths.build, "mounts"), (path) => ctx.trash.discard(path));
    const left = (path: string) => leftToReconcile(path, ctx.paths.temporary);
    const steps = join(ctx.paths.build, "steps");
    this.#left = existsSync(steps) && readdirSync(steps).length > 0 ? steps : undefined;
    left(steps);
    mkdirSync(steps, { recursive: true, mode: 0o700 });
    this.exporter = new Exporter(ctx, parts.content, parts.layers, steps);
    this.transfer = new CacheTransfer(ctx, parts.content, this.cacheMounts, steps);
    const solver = new Solver<EngineBuild>({
      ops,
      cache: this.cache,
      ...parts,
      hold: () => ctx.images.hold(),
      context: (build, step) => this.#context(build, step, steps, parts),
    });
    this.#builder = new Builder(solver);
  }

  /** Ends what an earlier engine has left. */
  async recover(): Promise<void> {
    if (this.#left !== undefined) {
      for (const [runDir, pid] of findKeepers()) if (runDir.startsWith(`${this.#left}/`)) endKeeper(runDir, pid);
    }
    await endSteps(this.ctx.hierarchy, this.#cgroup);
    removeLeftSecrets();
  }

  /** Ends the builds that are running, and waits for that. */
  async close(): Promise<void> {
    this.#leaving.abort(unavailable("the engine is leaving"));
    while (this.#running > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await this.#collecting;
    removeCgroup(this.ctx.hierarchy, this.#cgroup);
  }

  /** Where sockets of builds may be: their paths are short. */
  get sockets(): string {
    return this.ctx.paths.execRoot;
  }

  /** Where what is of one build lies on the disk; the next engine empties it. */
  get temporary(): string {
    return join(this.ctx.paths.build, "steps");
  }

  /** The engine's name among builders. */
  get worker(): string {
    return this.ctx.store.engineId;
  }

  get busy(): boolean {
    return this.#running > 0;
  }

  /** As {@link Builder.build}; the result is to be closed. */
  async build(build: EngineBuild, report: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildResult> {
    this.#running++;
    try {
      const either = AbortSignal.any([signal, this.#leaving.signal]);
      const result = await this.#builder.build(build, report, either);
      const close = async () => {
        await result.close();
        this.#running--;
        if (this.#running > 0) return;
        this.#collecting ??= this.#collect()
          .catch((error) => this.ctx.log(`build cache: ${messageOf(error)}`))
          .finally(() => {
            this.#collecting = undefined;
          });
      };
      return { ...result, close };
    } catch (error) {
      this.#running--;
      throw error;
    }
  }

  /** As {@link Builder.look}. */
  look(build: EngineBuild, call: NonNullable<BuildBody["call"]>, signal: AbortSignal) {
    return this.#builder.look(build, call, signal);
  }

  /** What builds keep, in no order. */
  async entries(): Promise<CacheEntry[]> {
    const records = this.cache.list();
    const byChain = new Map(records.map((record) => [record.chain, idOf(record.key)]));
    const steps = records.map((record): CacheEntry => {
      const parent = byChain.get(record.parent);
      return {
        used: record.used,
        remove: () => this.cache.delete(record.key),
        item: {
          ID: idOf(record.key),
          ...(parent ? { Parents: [parent] } : {}),
          Type: "regular",
          Description: record.description,
          InUse: this.cache.inUse(record.key),
          Shared: record.layer !== undefined && this.ctx.images.hasLayer(record.chain),
          Size: record.size,
          CreatedAt: new Date(record.created).toISOString(),
          LastUsedAt: new Date(record.used).toISOString(),
          UsageCount: record.uses,
        },
      };
    });
    const mounts = (await this.cacheMounts.list()).map(({ name, id, created, used, size, inUse }): CacheEntry => {
      return {
        used,
        remove: () => this.cacheMounts.remove(name),
        item: {
          ID: name.slice(0, 25),
          Type: "exec.cachemount",
          Description: `cached mount ${id}`,
          InUse: inUse,
          Shared: false,
          Size: size,
          CreatedAt: new Date(created).toISOString(),
          LastUsedAt: new Date(used).toISOString(),
          UsageCount: 1,
        },
      };
    });
    return [...steps, ...mounts, ...(await this.contexts.entries())];
  }

  /** POST /build/prune. */
  async prune(request: PruneRequest): Promise<BuildPruneResponse> {
    const answer = await pruneEntries(await this.entries(), request, this.ctx.paths.dataRoot);
    this.ctx.events.emit("builder", "prune", "", { reclaimed: String(answer.SpaceReclaimed) });
    return answer;
  }

  /** What is old goes, and what is more than a part of the disk. */
  async #collect(): Promise<void> {
    const { dataRoot } = this.ctx.paths;
    const { blocks, bsize } = statfsSync(dataRoot);
    const old = { all: true, filters: new Map([["unused-for", [UNUSED_FOR]]]) };
    const large = { all: false, filters: new Map(), max: Math.max(LEAST_KEPT, blocks * bsize * KEPT_PART) };
    for (const request of [old, large]) await pruneEntries(await this.entries(), request, dataRoot);
  }

  /**
   * A context that the engine gets itself: a git repository, or what a URL has: a tar, or a Dockerfile alone, which is then
   * the text.
   */
  async remote(
    build: EngineBuild,
    source: { git: string } | { http: string },
    signal: AbortSignal,
  ): Promise<OpenContext | { dockerfile: string }> {
    const hold = this.ctx.images.hold();
    const step = { signal, log: () => {}, epoch: undefined, hold };
    const ctx = this.#context(build, step, join(this.ctx.paths.build, "steps"), this.parts);
    try {
      if ("git" in source) {
        const { source: files, release } = await this.ops.fetchGit(source.git, { keepGitDir: false }, ctx);
        hold.release();
        return { source: files, release };
      }
      const { path } = await this.ops.fetchUrl(source.http, {}, ctx);
      const file = Bun.file(path);
      const head = Buffer.from(await file.slice(0, 512).arrayBuffer());
      if (isArchive(head)) return await this.contexts.unpack(createReadStream(path), signal);
      if (file.size > MAX_DOCKERFILE)
        throw invalid(`${source.http.slice(0, 200)} is neither an archive nor a Dockerfile`);
      return { dockerfile: await file.text() };
    } finally {
      hold.release();
    }
  }

  /** Makes a base image local: the one that is here, unless `pull`. */
  async resolve(
    reference: string,
    platform: Platform,
    options: { pull: boolean; auth(reference: string): RegistryAuth | undefined },
    signal: AbortSignal,
  ): Promise<BaseImage> {
    const { images } = this.ctx;
    if (isHostImage(reference)) throw invalid("the image host is the machine itself: nothing can be built on it");
    const found = options.pull ? undefined : this.local(reference, platform);
    if (found) return found;
    let name = wholeName(reference);
    const auth = options.auth(name);
    // A tag is one image's here: another platform's is known by its digest alone.
    if (!samePlatform(platform, hostPlatform())) name = await this.#digestFor(name, platform, auth, signal);
    await images.pull({
      reference: name,
      platform: formatPlatform(platform),
      onMessage: () => {},
      signal,
      ...(auth ? { auth } : {}),
    });
    const pulled = this.local(name, platform);
    if (!pulled)
      throw conflict(`image ${name} was pulled, but is gone again, or is not for ${formatPlatform(platform)}`);
    return pulled;
  }

  /** The name of an image for a platform at its registry, by digest. */
  async #digestFor(
    name: string,
    platform: Platform,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const { Descriptor, Manifest } = await this.ctx.images.registryManifest({ reference: name, auth, signal });
    const parsed = parseManifest(Buffer.from(Manifest, "base64"), Descriptor.mediaType);
    const { digest } = parsed.kind === "index" ? choosePlatform(parsed.index.manifests, platform, true) : Descriptor;
    return `${name.replace(/(?:@.*|:[^:/]+)$/, "")}@${digest}`;
  }

  /** The image that is here, for a build on it. */
  local(reference: string, platform: Platform): BaseImage | undefined {
    const { images } = this.ctx;
    try {
      const { id, config } = images.find(reference);
      const { os, architecture, variant } = config;
      if (!satisfies({ os, architecture, ...(variant ? { variant } : {}) }, platform, true)) return undefined;
      return { reference: named(reference), id, config, layers: images.storedLayers(id) };
    } catch (error) {
      if (error instanceof InroError && error.kind === "notFound") return undefined;
      throw error;
    }
  }

  #context(
    build: EngineBuild,
    step: Pick<StepContext, "signal" | "log" | "epoch" | "hold">,
    directory: string,
    parts: Pick<StepContext, "content" | "layers">,
  ): StepContext {
    const { ctx } = this;
    return {
      ...parts,
      ...step,
      directory,
      hierarchy: ctx.hierarchy,
      cgroup: this.#cgroup,
      spec: stepSpec,
      network: async (mode) => stepNetwork(ctx, mode, { hostname: "buildkitsandbox", extraHosts: build.extraHosts }),
      secret: async (id) => await build.secret?.(id),
      agent: async (id) => await build.agent?.(id),
      cacheMount: (id, sharing, fill) => this.cacheMounts.lease(id, sharing, fill, step.signal),
    };
  }
}

function named(reference: string): string {
  try {
    return wholeName(reference);
  } catch {
    // An id.
    return reference;
  }
}
