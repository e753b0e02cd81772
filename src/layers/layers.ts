import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chainId, parseDigest } from "../base/digest.ts";
import { codeOf, invalid, notFound, unavailable } from "../base/errors.ts";
import type { Applied } from "./apply.ts";
import { applyInChild, indexInChild } from "./apply-command.ts";
import { bootId, replaceFile } from "./durable.ts";
import { IndexedImages } from "./erofs/images.ts";
import { indexLayer, linkLayer, TAR, TREE } from "./erofs/index-layer.ts";
import { canMountIndexes } from "./erofs/mount.ts";
import type { GrowingFile } from "./growing.ts";
import { type LayerRecord, readLayerRecord } from "./layer-record.ts";
import { LayerSync } from "./layer-sync.ts";
import { LayerTrash } from "./layer-trash.ts";
import { removeTrees } from "./remove-tree.ts";
import { verifyLayers } from "./verify-layers.ts";

export interface ApplyOptions {
  /**
   * A layer's tar: plain, gzip or zstd, as its first bytes say. Nobody ever writes to the file: a plain one may be linked.
   * `digest` is what it is known to hash to. `growing`: it is still written, as a compressed one; `digest` is what it must
   * hash to in the end, and what has been read is then of just that.
   */
  source: { path: string; digest?: string; growing?: GrowingFile };
  /** DiffIDs of the layers below, base first; each must be here. */
  parents: readonly string[];
  /** What the uncompressed tar must hash to. */
  diffId?: string;
  /** Others come on top of it: nobody will ask for the `lowers` of this one. */
  covered?: boolean;
  /** Those below may still be on their way: see {@link Layers.apart}. Such a layer is `covered`. */
  apart?: boolean;
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

const SMALL_TAR = 1 << 20;
const SMALL_TREES = 1 << 17;

/**
 * How layers lie on the disk: as directories in the form overlayfs wants of a lower one (char 0:0 for a whiteout,
 * `trusted.overlay.opaque` for an opaque directory), or as tars, with an EROFS index over those of an image.
 */
export type LayerForm = "directories" | "erofs";

/**
 * Layers by ChainID.
 *
 *     <dir>/<chain hex>/layer.json   {diffId, size, form}, and the boot id while not synced
 *     <dir>/<chain hex>/diff         directories: the layer
 *     <dir>/<chain hex>/layer.tar    erofs: its uncompressed tar, the same file as a blob or another layer that is the same
 *     <dir>/<chain hex>/tree         erofs: what is in it, in short
 *     <dir>/<chain hex>/index        erofs: of this layer and those below as one file system, once needed
 *     <dir>/tmp-*                    being made or removed; the next Layers on this folder removes them
 *
 * What stands on a layer has its form, so that a chain is all of one.
 * A layer appears by a rename, whole, and never changes. It is synced to disk in the background, since that takes longer
 * than the unpacking; {@link sync} waits for it. What a power cut caught before that is removed at the next start, so
 * that no layer with holes is ever taken for a good one. One process at a time uses a folder. A chain id
 * that is not a digest is an `invalid` error, one that is not here `notFound`.
 */
export class Layers {
  readonly #dir: string;
  readonly #images: IndexedImages;
  readonly #wanted: LayerForm | "auto";
  #possible: boolean | undefined;
  readonly #applying = new Map<string, Promise<unknown>>();
  readonly #boot = bootId();
  readonly #known = new Map<string, LayerRecord>();
  readonly #unsynced: LayerSync;
  readonly #trash: LayerTrash;

  /** `form` of new layers; "auto" is erofs where that works. A form that does not work is unavailable when it is needed. */
  constructor(dir: string, form: LayerForm | "auto" = "auto") {
    this.#dir = dir;
    this.#images = new IndexedImages(dir);
    this.#wanted = form;
    this.#trash = new LayerTrash(dir);
    this.#unsynced = new LayerSync(dir, (chain) => this.#synced(chain));
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
    this.#unsynced.all().catch(() => {});
  }

  has(chain: string): boolean {
    return this.#record(chain) !== undefined;
  }

  /** Of layers to come. */
  get form(): LayerForm {
    if (this.#wanted === "directories") return "directories";
    this.#possible ??= canMountIndexes(this.#dir);
    if (this.#possible) return "erofs";
    if (this.#wanted === "auto") return "directories";
    throw unavailable("keep layers without unpacking: this kernel, or user, cannot mount EROFS from files");
  }

  /**
   * What an overlay takes as its lower directories to show the layers with these diffIDs (base first), top first: fewer
   * than there are layers perhaps. Each is an absolute path of a directory that this process and its children may open;
   * it may lead through a descriptor of this process (`/proc/<pid>/fd/<n>`), and is good as long as the layers are held:
   * ask again for each use, and compare nothing by it.
   */
  lowers(diffIds: readonly string[]): string[] {
    const chains = chainsOf(diffIds);
    const top = chains.at(-1);
    for (const chain of chains) if (!this.has(chain)) throw missing(chain);
    if (top !== undefined && this.#record(top)!.form === "erofs") return [this.#images.path(chains)];
    return chains.map((chain) => join(this.#home(chain), "diff")).reverse();
  }

  /** Where a layer lies, for those who count. */
  directory(chain: string): string {
    return this.#home(chain);
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
    const applied = await this.#applyOnce(options);
    if (!options.covered && !options.apart) await this.prepare([...options.parents, applied.diffId]);
    return applied;
  }

  /**
   * Whether the layers of an image with these diffIDs may be applied in any order, and at once. When all are here,
   * {@link prepare} makes them one.
   */
  apart(diffIds: readonly string[]): boolean {
    const inOrder = (chain: string) => this.has(chain) && this.#record(chain)!.form !== "erofs";
    return this.form === "erofs" && !chainsOf(diffIds).some(inOrder);
  }

  /** After this `lowers` of these layers takes no time. They must all be here. */
  async prepare(diffIds: readonly string[]): Promise<void> {
    const chains = chainsOf(diffIds);
    for (const chain of chains) if (!this.has(chain)) throw missing(chain);
    const top = chains.at(-1);
    if (top !== undefined && this.#record(top)!.form === "erofs") await this.#images.prepare(chains);
  }

  async #applyOnce(options: ApplyOptions): Promise<AppliedLayer> {
    const { diffId, parents, signal } = options;
    const chains = chainsOf(parents);
    for (const chain of chains) if (!options.apart && !this.has(chain)) throw missing(chain);
    if (diffId === undefined) return this.#make(options, chains);
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
    const applying = this.#make(options, chains);
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
    await this.#trash.empty();
    await this.#unsynced.all();
  }

  /**
   * Reads every layer that is a tar and compares it with its diffID, and what was made of it with it; of `images` (diffIDs,
   * base first) the index too. Layers that are directories cannot be told from what they were. `repair` makes anew what
   * comes from tars.
   */
  async verify(
    images: readonly (readonly string[])[],
    options: { repair: boolean },
  ): Promise<{ chain: string; problem: string; repaired: boolean }[]> {
    const indexed = (chain: string) => this.#record(chain)?.form === "erofs";
    const nameOf = (chain: string) => parseDigest(chain).hex;
    const tars = this.list()
      .filter(indexed)
      .map((chain) => ({ name: nameOf(chain), diffId: this.#record(chain)!.diffId }));
    const whole = images.map(chainsOf).filter((chains) => chains.every(indexed));
    const names = whole.map((chains) => chains.map(nameOf));
    const problems = await verifyLayers(this.#dir, tars, names, options);
    const found = problems.map(({ name, ...rest }) => ({ chain: `sha256:${name}`, ...rest }));
    // The next container has the new one.
    for (const { chain, repaired } of found) if (repaired) this.#images.drop(chain);
    return found.filter(({ chain }) => this.has(chain));
  }

  /** Removes a layer; nothing may be using it. It is gone at once, its space a little later. No layer is no error. */
  delete(chain: string): void {
    const few = this.#record(chain)?.form === "erofs";
    this.#known.delete(chain);
    this.#unsynced.delete(chain);
    this.#images.drop(chain);
    const trash = temporaryName();
    try {
      // First out of sight, so that a crash leaves no half of a layer.
      renameSync(this.#home(chain), join(this.#dir, trash));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    this.#trash.add(trash, { few });
  }

  /** Waits for what goes on in the background, and lets go of all mounts: the paths of `lowers` are good no more. */
  async close(): Promise<void> {
    await this.sync();
    this.#images.close();
  }

  /** Chain ids of all layers. */
  list(): string[] {
    return readdirSync(this.#dir)
      .filter((name) => /^[0-9a-f]{64}$/.test(name))
      .map((name) => `sha256:${name}`);
  }

  async #make(options: ApplyOptions, parents: string[]): Promise<AppliedLayer> {
    const name = temporaryName();
    const temporary = join(this.#dir, name);
    mkdirSync(temporary, { mode: 0o700 });
    try {
      const below = options.apart ? undefined : parents[0];
      const form = below === undefined ? this.form : (this.#record(below)!.form ?? "directories");
      const applied =
        form === "erofs" ? await this.#index(options, parents, temporary) : await this.#unpack(options, temporary);
      if (options.diffId !== undefined && applied.diffId !== options.diffId) {
        throw invalid(`unpack layer: its digest is ${applied.diffId}, the image says ${options.diffId}`);
      }
      const chain = chainId([...options.parents, applied.diffId]);
      const record: LayerRecord = { ...applied, ...(form === "erofs" && { form }), boot: this.#boot };
      writeFileSync(join(temporary, "layer.json"), JSON.stringify(record));
      try {
        renameSync(temporary, this.#home(chain));
        this.#unsynced.add(chain);
      } catch (error) {
        if (!["EEXIST", "ENOTEMPTY"].includes(codeOf(error) ?? "")) throw error;
        await this.#trash.remove(name);
      }
      return { ...applied, chainId: chain };
    } catch (error) {
      // What cannot be removed now stays for the next start; the first error is the one to tell.
      await this.#trash.remove(name).catch(() => {});
      throw error;
    }
  }

  #unpack(options: ApplyOptions, directory: string): Promise<Applied> {
    const target = join(directory, "diff");
    mkdirSync(target, { mode: 0o700 });
    return applyInChild({ source: options.source.path, target, lowers: this.lowers(options.parents) }, options);
  }

  async #index(options: ApplyOptions, parents: string[], target: string): Promise<Applied> {
    const { source, diffId } = options;
    // The same layer on other parents: nothing of it needs to be read again.
    for (const chain of diffId === undefined ? [] : this.list()) {
      const other = this.#record(chain);
      if (other?.form !== "erofs" || other.diffId !== diffId) continue;
      if (linkLayer(this.#home(chain), target)) return { diffId: other.diffId, size: other.size };
    }
    const below = options.covered || options.apart ? undefined : { directory: this.#dir, chains: parents };
    const { growing } = source;
    const request = { source: source.path, growing: growing?.size, target, digest: source.digest, below };
    // What is known to be a plain tar cannot grow while it is read.
    const plain = diffId !== undefined && source.digest === diffId;
    const here = plain && !growing && this.#isSmall(source.path, below?.chains ?? []);
    return here ? indexLayer(request) : indexInChild(request, { ...options, growing });
  }

  /** Sooner done than a process is started. */
  #isSmall(source: string, below: readonly string[]): boolean {
    if (statSync(source).size > SMALL_TAR) return false;
    let size = 0;
    for (const chain of below) {
      size += statSync(join(this.#home(chain), TREE), { throwIfNoEntry: false })?.size ?? Infinity;
      if (size > SMALL_TREES) return false;
    }
    return true;
  }

  #home(chain: string): string {
    return join(this.#dir, parseDigest(chain).hex);
  }

  #synced(chain: string): void {
    const record = this.#record(chain);
    if (!record) return;
    const { boot: _, ...synced } = record;
    replaceFile(join(this.#home(chain), "layer.json"), JSON.stringify(synced));
  }

  /** Layers come and go by this object alone, so what was read once stays true until {@link delete}. */
  #record(chain: string): LayerRecord | undefined {
    const known = this.#known.get(chain);
    if (known) return known;
    const record = readLayerRecord(join(this.#home(chain), "layer.json"));
    if (record) this.#known.set(chain, record);
    return record;
  }
}

/** Of each layer and those below it. */
function chainsOf(diffIds: readonly string[]): string[] {
  let chain: string | undefined;
  return diffIds.map((diffId) => (chain = chain === undefined ? diffId : chainId([chain, diffId])));
}

const temporaryName = () => `tmp-${randomBytes(8).toString("hex")}`;
const missing = (chain: string) => notFound(`no such layer: ${chain}`);

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
}
