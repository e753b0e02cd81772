import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chainId, parseDigest } from "../base/digest.ts";
import { codeOf, invalid, notFound } from "../base/errors.ts";
import { applyInChild, removeInChild, syncInChild } from "./apply-command.ts";
import { bootId, replaceFile } from "./durable.ts";
import { removeTrees } from "./remove-tree.ts";

export interface ApplyOptions {
  /** A layer's tar: plain, gzip or zstd, as its first bytes say. */
  source: { path: string };
  /** DiffIDs of the layers below, base first; each must be here. */
  parents: readonly string[];
  /** What the uncompressed tar must hash to. */
  diffId?: string;
  /** Hears of the bytes taken from the source, in all. */
  onProgress?(bytes: number): void;
  /** Ends the unpacking; the promise rejects with its reason, and nothing is left. */
  signal?: AbortSignal;
}

export interface AppliedLayer {
  diffId: string;
  chainId: string;
  /** Bytes of the layer's files. */
  size: number;
}

/** layer.json. */
interface LayerRecord {
  diffId: string;
  size: number;
  boot?: string;
}

/**
 * Unpacked layers by ChainID, each a directory in the form overlayfs wants of a lower one: char 0:0 for a whiteout,
 * `trusted.overlay.opaque` for an opaque directory.
 *
 *     <dir>/<chain hex>/diff         the layer
 *     <dir>/<chain hex>/layer.json   {diffId, size}, and the boot id while not synced
 *     <dir>/tmp-*                    being unpacked or removed; the next Layers on this folder removes them
 *
 * A layer appears by a rename, whole, and never changes. It is synced to disk in the background, since that takes longer
 * than the unpacking; {@link sync} waits for it. What a power cut caught before that is removed at the next start, so
 * that no layer with holes is ever taken for a good one. One process at a time uses a folder. A chain id
 * that is not a digest is an `invalid` error, one that is not here `notFound`.
 */
export class Layers {
  readonly #dir: string;
  readonly #applying = new Map<string, Promise<unknown>>();
  readonly #boot = bootId();
  readonly #known = new Map<string, LayerRecord>();
  readonly #unsynced = new Set<string>();
  #syncing: Promise<void> | undefined;
  /** Names of directories that are to go: removing a large layer takes too long for the event loop. */
  readonly #trash = new Set<string>();
  #emptying: Promise<void> | undefined;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    removeTrees(
      dir,
      readdirSync(dir).filter((name) => name.startsWith("tmp-")),
    );
    for (const chain of this.list()) {
      const record = this.#record(chain);
      if (!record || (record.boot ?? this.#boot) !== this.#boot) this.delete(chain);
      else if (record.boot) this.#unsynced.add(chain);
    }
    if (this.#unsynced.size > 0) this.sync().catch(() => {});
  }

  has(chain: string): boolean {
    return this.#record(chain) !== undefined;
  }

  /**
   * What an overlay takes as its lower directories to show the layers with these diffIDs (base first), top first: fewer
   * than there are layers perhaps. Each is an absolute path of a directory that this process and its children may open;
   * it may lead through a descriptor of this process (`/proc/<pid>/fd/<n>`), and is good as long as the layers are held:
   * ask again for each use, and compare nothing by it.
   */
  lowers(diffIds: readonly string[]): string[] {
    return diffIds.map((_, i) => this.#directory(chainId(diffIds.slice(0, i + 1)))).reverse();
  }

  /** Bytes of the layer's files. */
  size(chain: string): number {
    const record = this.#record(chain);
    if (!record) throw missing(chain);
    return record.size;
  }

  /**
   * Unpacks one layer on top of `parents`, in another process. Two calls for the same layer unpack it once. A layer
   * that is here already is not looked at again. What is wrong with the archive, its digest too, is an `invalid` error.
   */
  async apply(options: ApplyOptions): Promise<AppliedLayer> {
    const { diffId, parents, signal } = options;
    const lowers = this.lowers(parents);
    if (diffId === undefined) return this.#unpack(options, lowers);
    parseDigest(diffId);
    const chain = chainId([...parents, diffId]);
    for (;;) {
      signal?.throwIfAborted();
      const record = this.#record(chain);
      if (record) return { diffId, chainId: chain, size: record.size };
      const other = this.#applying.get(chain);
      if (!other) break;
      // Its failure may be its own, a cancellation for one: try again then.
      await Promise.race([other.catch(() => {}), aborted(signal)]);
    }
    const applying = this.#unpack(options, lowers);
    this.#applying.set(chain, applying);
    try {
      return await applying;
    } finally {
      this.#applying.delete(chain);
    }
  }

  /**
   * Waits until every layer that is here now survives a power cut, and what was deleted has freed its space. Call it
   * before promising a user either; without it that takes as long as the disk does.
   */
  async sync(): Promise<void> {
    while (this.#trash.size > 0) await this.#emptyTrash();
    const wanted = [...this.#unsynced];
    while (wanted.some((chain) => this.#unsynced.has(chain))) {
      this.#syncing ??= this.#syncNow().finally(() => {
        this.#syncing = undefined;
      });
      await this.#syncing;
    }
  }

  /** Removes a layer; nothing may be using it. It is gone at once, its space a little later. No layer is no error. */
  delete(chain: string): void {
    this.#known.delete(chain);
    this.#unsynced.delete(chain);
    const trash = temporaryName();
    try {
      // First out of sight, so that a crash leaves no half of a layer.
      renameSync(this.#home(chain), join(this.#dir, trash));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    this.#trash.add(trash);
    this.#emptyTrash().catch(() => {});
  }

  /** Chain ids of all layers. */
  list(): string[] {
    return readdirSync(this.#dir)
      .filter((name) => /^[0-9a-f]{64}$/.test(name))
      .map((name) => `sha256:${name}`);
  }

  async #unpack(options: ApplyOptions, lowers: string[]): Promise<AppliedLayer> {
    const name = temporaryName();
    const temporary = join(this.#dir, name);
    const target = join(temporary, "diff");
    mkdirSync(target, { recursive: true, mode: 0o700 });
    try {
      const applied = await applyInChild({ source: options.source.path, target, lowers }, options);
      if (options.diffId !== undefined && applied.diffId !== options.diffId) {
        throw invalid(`unpack layer: its digest is ${applied.diffId}, the image says ${options.diffId}`);
      }
      const chain = chainId([...options.parents, applied.diffId]);
      const record: LayerRecord = { ...applied, boot: this.#boot };
      writeFileSync(join(temporary, "layer.json"), JSON.stringify(record));
      try {
        renameSync(temporary, this.#home(chain));
        this.#unsynced.add(chain);
        // A failure shows when someone asks for the sync; until then the layer counts as not synced.
        this.sync().catch(() => {});
      } catch (error) {
        if (!["EEXIST", "ENOTEMPTY"].includes(codeOf(error) ?? "")) throw error;
        await this.#discard(name);
      }
      return { ...applied, chainId: chain };
    } catch (error) {
      // What cannot be removed now stays for the next start; the first error is the one to tell.
      await this.#discard(name).catch(() => {});
      throw error;
    }
  }

  #directory(chain: string): string {
    if (!this.has(chain)) throw missing(chain);
    return join(this.#home(chain), "diff");
  }

  #home(chain: string): string {
    return join(this.#dir, parseDigest(chain).hex);
  }

  async #syncNow(): Promise<void> {
    const chains = [...this.#unsynced];
    await syncInChild(this.#dir);
    for (const chain of chains) {
      const record = this.#record(chain);
      if (record) {
        replaceFile(
          join(this.#home(chain), "layer.json"),
          JSON.stringify({ diffId: record.diffId, size: record.size }),
        );
      }
      this.#unsynced.delete(chain);
    }
  }

  /** Layers come and go by this object alone, so what was read once stays true until {@link delete}. */
  #record(chain: string): LayerRecord | undefined {
    const known = this.#known.get(chain);
    if (known) return known;
    try {
      const record: LayerRecord = JSON.parse(readFileSync(join(this.#home(chain), "layer.json"), "utf8"));
      this.#known.set(chain, record);
      return record;
    } catch (error) {
      // What a power cut leaves of it may not be JSON.
      if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  async #discard(name: string): Promise<void> {
    this.#trash.add(name);
    while (this.#trash.has(name)) await this.#emptyTrash();
  }

  #emptyTrash(): Promise<void> {
    const names = [...this.#trash];
    this.#emptying ??= removeInChild(this.#dir, names)
      .then(() => {
        for (const name of names) this.#trash.delete(name);
      })
      .finally(() => {
        this.#emptying = undefined;
      });
    return this.#emptying;
  }
}

const temporaryName = () => `tmp-${randomBytes(8).toString("hex")}`;
const missing = (chain: string) => notFound(`no such layer: ${chain}`);

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
}
