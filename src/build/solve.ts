import { invalid, messageOf } from "../base/errors.ts";
import type { Hold } from "../images/holds.ts";
import type { StoredLayer } from "../images/store.ts";
import type { CacheRecord } from "./cache.ts";
import { digestOf, type HttpVertex, inputsOf, type StepVertex, type Vertex } from "./graph.ts";
import { stepKey } from "./key.ts";
import type { SelectionOptions } from "./ops.ts";
import { prepareStep } from "./prepare.ts";
import { named, type Progress } from "./progress.ts";
import { EMPTY, extended, type Identity, keep, type OpenContext, type Root } from "./roots.ts";
import type { BuildSession, Solver } from "./solver.ts";
import { type Fetched, Sources } from "./sources.ts";
import type { Download, FileSource, Snapshot, StepContext } from "./step.ts";

/** A step that failed, with the vertex it was. */
export class VertexError extends Error {
  constructor(
    readonly vertex: Vertex,
    override readonly cause: unknown,
  ) {
    super(messageOf(cause));
  }
}

/** One build's view of a {@link Solver}. */
export class Solve<S extends BuildSession> {
  readonly #identities = new Map<string, Promise<Identity>>();
  readonly #results = new Map<string, Promise<Identity>>();
  readonly #records = new Map<string, CacheRecord>();
  /** Of steps whose data was not needed. */
  readonly #noted = new Map<string, CacheRecord>();
  readonly #selections: [source: string, selection: string, digest: string][] = [];
  readonly #opened: OpenContext[] = [];
  readonly #sources: Sources;
  readonly #hold: Hold;
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal;

  constructor(
    private readonly solver: Solver<S>,
    private readonly session: S,
    private readonly progress: Progress,
    signal: AbortSignal,
  ) {
    this.#sources = new Sources(solver.options.ops);
    this.#hold = solver.options.hold();
    this.#signal = AbortSignal.any([signal, this.#controller.signal]);
  }

  /** The root file system that `target` is, all of its layers here and held until {@link close}. */
  async snapshot(target: Vertex): Promise<Snapshot> {
    try {
      const result = await this.#result(target);
      if (result.kind !== "snapshot") throw new Error(`${target.name} is no root file system`);
      return { layers: result.layers };
    } catch (error) {
      this.#controller.abort(error);
      // Whatever else was running has ended before the caller cleans up.
      await Promise.allSettled([...this.#identities.values(), ...this.#results.values()]);
      throw error;
    }
  }

  /** What was fetched so far. */
  get fetched(): readonly Fetched[] {
    return this.#sources.fetched;
  }

  /** What the steps came to: those that `target` stands on, or all. Base first, each once. */
  recordsOf(target: Vertex, mode: "min" | "max"): CacheRecord[] {
    const found = new Map<string, CacheRecord>();
    const visit = (one: Vertex) => {
      for (const input of mode === "max" ? inputsOf(one) : isStep(one) ? [one.base] : []) visit(input);
      const record = this.#records.get(one.digest) ?? this.#noted.get(one.digest);
      if (record) found.set(record.key, record);
    };
    visit(target);
    return [...found.values()];
  }

  get selections(): readonly (readonly [source: string, selection: string, digest: string])[] {
    return this.#selections;
  }

  /** Whether the vertex, once done, has a layer of its own. */
  hasLayer(one: Vertex): boolean {
    return this.#records.get(one.digest)?.layer !== undefined;
  }

  async close(): Promise<void> {
    this.#controller.abort(new Error("the build is over"));
    await Promise.allSettled([...this.#identities.values(), ...this.#results.values()]);
    for (const open of this.#opened) await open.release();
    for (const { key } of this.#records.values()) this.solver.options.cache.unuse(key);
    this.#records.clear();
    this.#hold.release();
  }

  /** What the vertex is, without its data where the cache knows enough. */
  #identity(one: Vertex): Promise<Identity> {
    return memo(this.#identities, one.digest, async () => {
      if (!isStep(one)) return await this.#result(one);
      this.#ahead(one);
      if (!one.noCache) {
        const base = await this.#root(one.base, false);
        const record = this.#lookup(await this.#key(one, base));
        if (record) {
          this.#noted.set(one.digest, record);
          return extended(base, record.layer);
        }
      }
      return await this.#result(one);
    });
  }

  /** The vertex, with its data. */
  #result(one: Vertex): Promise<Identity> {
    return memo(this.#results, one.digest, async () => {
      this.#signal.throwIfAborted();
      switch (one.kind) {
        case "scratch":
          return { kind: "snapshot", layers: [], chain: "" };
        case "image":
          this.progress.started(named(one));
          this.progress.completed(one.digest, { cached: true });
          return one.layers.reduce<Root>((root, layer) => {
            const next = extended(root, layer);
            keep(this.#hold, next);
            return next;
          }, EMPTY);
        case "context":
          return await this.#told(one, async () => {
            const transferred = (bytes: number) => this.progress.status(one.digest, "transferring context:", bytes);
            const open = await this.session.open(one.context, transferred, this.#signal);
            this.#opened.push(open);
            return { kind: "files", open };
          });
        case "http":
          return await this.#told(one, async () => ({
            kind: "download",
            file: await this.#sources.http(one, this.#fetching(one)),
          }));
        case "git":
          return await this.#told(one, async () => {
            const open = await this.#sources.git(one, this.#fetching(one));
            this.#opened.push(open);
            return { kind: "files", open };
          });
        default:
          return await this.#step(one);
      }
    });
  }

  async #step(one: StepVertex): Promise<Identity> {
    const { cache } = this.solver.options;
    this.#ahead(one);
    const base = await this.#root(one.base, true);
    let record: CacheRecord | undefined;
    let root: Root;
    try {
      const key = await this.#key(one, base);
      record = one.noCache ? undefined : await this.#found(key, base, this.#hold);
      this.progress.started(named(one));
      if (record) {
        cache.touch(key);
        root = await this.#standing(base, record);
        this.progress.completed(one.digest, { cached: true });
      } else {
        const onEvent = ({ stream, bytes }: { stream: 1 | 2; bytes: Uint8Array }) =>
          this.progress.log(one.digest, stream, bytes);
        record = await this.solver.flights.run(key, { signal: this.#signal, onEvent }, (signal, emit) =>
          this.#run(one, key, base, signal, (stream, bytes) => emit({ stream, bytes })),
        );
        root = await this.#standing(base, record);
        this.progress.completed(one.digest);
      }
    } catch (error) {
      throw this.#failed(one, error);
    }
    cache.use(record.key);
    this.#records.set(one.digest, record);
    return root;
  }

  /** What the step's key will ask for is begun at once: it does not wait for the step's base. */
  #ahead(one: StepVertex): void {
    for (const input of inputsOf(one)) if (input !== one.base) this.#identity(input).catch(() => {});
  }

  #failed(one: Vertex, error: unknown): VertexError {
    if (error instanceof VertexError) return error;
    this.progress.started(named(one));
    this.progress.completed(one.digest, { error: this.#signal.aborted ? "canceled" : messageOf(error) });
    return new VertexError(one, error);
  }

  #lookup(key: string): CacheRecord | undefined {
    return this.solver.options.cache.get(key) ?? this.session.imported?.record(key);
  }

  /** A record of the cache whose data is here, or comes, held. */
  async #found(key: string, base: Root, hold: Hold): Promise<CacheRecord | undefined> {
    const { cache, content } = this.solver.options;
    const { imported } = this.session;
    for (const record of [cache.get(key), imported?.record(key)]) {
      if (!record) continue;
      if (!record.layer) return record;
      keep(hold, extended(base, record.layer));
      if (content.has(record.layer.blob.digest)) return record;
    }
    return (await imported?.fetch(key, this.#signal)) ? imported!.record(key) : undefined;
  }

  /** The root that a record makes of `base`. Its layer may have been made on another, as a linked one's. */
  async #standing(base: Root, { layer }: CacheRecord): Promise<Root> {
    const root = extended(base, layer);
    keep(this.#hold, root);
    if (layer) await this.#apply(base, layer, root.chain, this.#signal);
    return root;
  }

  async #apply(base: Root, layer: StoredLayer, chain: string, signal: AbortSignal): Promise<void> {
    const { content, layers } = this.solver.options;
    if (layers.has(chain)) return;
    const parents = base.layers.map(({ diffId }) => diffId);
    await layers.apply({ source: { path: content.path(layer.blob.digest) }, parents, diffId: layer.diffId, signal });
  }

  /** The work of a flight: it may go on when the build that began it is gone, so its holds are its own. */
  async #run(
    one: StepVertex,
    key: string,
    base: Root,
    signal: AbortSignal,
    log: StepContext["log"],
  ): Promise<CacheRecord> {
    const { cache, layers, hold: open } = this.solver.options;
    const hold = open();
    const ctx = this.#context(signal, one.epoch, log, hold);
    try {
      // Another build may have come first.
      const other = one.noCache ? undefined : await this.#found(key, base, hold);
      if (other) return other;
      const layer = await this.#work(one, { layers: base.layers }, ctx);
      const root = extended(base, layer);
      keep(hold, root);
      if (layer) await this.#apply(base, layer, root.chain, signal);
      const size = layer ? layers.size(root.chain) : 0;
      cache.put({ key, layer, chain: root.chain, parent: base.chain, description: one.name, size });
      return cache.get(key)!;
    } finally {
      hold.release();
    }
  }

  async #work(one: StepVertex, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined> {
    const { ops } = this.solver.options;
    const source = (from: Vertex) => this.#source(from);
    const download = (from: HttpVertex) => this.#download(from, true);
    const { limits } = this.session;
    const step = await prepareStep(one, base, ctx, ops, { source, download, ...(limits ? { limits } : {}) });
    try {
      return await this.solver.slots.run(async () => {
        ctx.signal.throwIfAborted();
        return await step.work();
      });
    } finally {
      await step.release();
    }
  }

  async #download(one: HttpVertex, data: boolean): Promise<Download> {
    const result = await (data ? this.#result(one) : this.#identity(one));
    if (result.kind !== "download") throw new Error(`${one.url} was not downloaded`);
    return result.file;
  }

  #key(one: StepVertex, base: Root): Promise<string> {
    return stepKey(one, base, {
      selected: (from, paths, options, epoch) => this.#selected(from, paths, options, epoch),
      download: (from) => this.#download(from, false),
      extraHosts: this.session.extraHosts,
    });
  }

  async #source(one: Vertex): Promise<FileSource> {
    const result = await this.#result(one);
    if (result.kind === "files") return result.open.source;
    if (result.kind === "snapshot") return { kind: "snapshot", snapshot: { layers: result.layers } };
    throw new Error(`${one.name} is no directory`);
  }

  async #root(one: Vertex, data: boolean): Promise<Root> {
    const result = await (data ? this.#result(one) : this.#identity(one));
    if (result.kind === "snapshot") return result;
    if (result.kind === "files")
      throw invalid(`${one.name}: files of a context are no root file system to begin a stage with`);
    throw invalid(`${one.name}: a download is no root file system to begin a stage with`);
  }

  /** Digest of files of a vertex; found out once for what never changes. */
  async #selected(from: Vertex, paths: readonly string[], options: SelectionOptions, epoch: number): Promise<string> {
    const { cache, ops } = this.solver.options;
    const identity = await this.#identity(from);
    const source =
      identity.kind === "snapshot" ? identity.chain : identity.kind === "files" ? identity.open.identity : undefined;
    // All of a root is what its layers are.
    if (source !== undefined && paths.every((path) => /^\/*$/.test(path)) && options.excludes.length === 0)
      return source;
    const selection = digestOf({ paths, options });
    const known =
      source === undefined
        ? undefined
        : (cache.selection(source, selection) ?? this.session.imported?.selection(source, selection));
    if (known !== undefined) {
      this.#selections.push([source!, selection, known]);
      return known;
    }
    const files = await this.#source(from);
    const ctx = this.#context(this.#signal, epoch, () => {});
    const digest = await ops.digestSelection(files, paths, options, ctx);
    if (source !== undefined) {
      cache.putSelection(source, selection, digest);
      this.#selections.push([source, selection, digest]);
    }
    return digest;
  }

  async #told(one: Vertex, work: () => Promise<Identity>): Promise<Identity> {
    this.progress.started(named(one));
    try {
      const result = await work();
      this.progress.completed(one.digest);
      return result;
    } catch (error) {
      throw this.#failed(one, error);
    }
  }

  #fetching(one: Vertex): StepContext {
    return this.#context(this.#signal, 0, (stream, bytes) => this.progress.log(one.digest, stream, bytes));
  }

  #context(signal: AbortSignal, epoch: number, log: StepContext["log"], hold = this.#hold): StepContext {
    return this.solver.options.context(this.session, { signal, epoch, log, hold });
  }
}

function isStep(one: Vertex): one is StepVertex {
  return one.kind === "run" || one.kind === "copy" || one.kind === "workdir";
}

function memo<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const before = known.get(key);
  if (before) return before;
  const made = make();
  made.catch(() => {});
  known.set(key, made);
  return made;
}
