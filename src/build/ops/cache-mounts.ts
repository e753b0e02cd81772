import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { treeInChild, unpackInChild } from "../../archive/command.ts";
import { conflict } from "../../base/errors.ts";
import { sizesInChild } from "../../layers/apply-command.ts";
import * as k from "../../linux/constants.ts";
import { close, openat } from "../../linux/file.ts";
import type { CacheMountLease } from "../step.ts";

type Sharing = "shared" | "private" | "locked";
type Fill = ((directory: string) => Promise<void>) | undefined;

/** A cache mount that is kept. Times in milliseconds since 1970, size in bytes. */
export interface KeptMount {
  readonly name: string;
  readonly id: string;
  readonly created: number;
  readonly used: number;
  readonly size: number;
  readonly inUse: boolean;
}

interface Kept {
  id: string;
  created: number;
}

/**
 * The directories of `RUN --mount=type=cache`, which outlive builds and engines.
 *
 *     <dir>/<sha256 of the id>[-<n>]/files        what is mounted
 *     <dir>/<sha256 of the id>[-<n>]/mount.json   whose it is; written last, so that one without is no whole one
 *
 * Ids are never part of a path. `<n>` counts the further ones of steps that wanted theirs `private`. `discard` removes a
 * directory of this folder, which has one process at a time.
 */
export class CacheMounts {
  /** Users of each directory; a `locked` or `private` one has it alone. */
  readonly #users = new Map<string, { count: number; alone: boolean }>();
  readonly #filling = new Map<string, Promise<void>>();
  readonly #waiting = new Set<() => void>();

  constructor(
    private readonly dir: string,
    private readonly discard: (path: string) => void,
  ) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(dir)) if (!this.#read(name)) discard(join(dir, name));
  }

  /**
   * A directory for this id, until it is released: a `locked` one is waited for, a `private` one is another if somebody
   * has it. `fill` gets a new one, empty. An abort rejects with the signal's reason.
   */
  async lease(id: string, sharing: Sharing, fill: Fill, signal: AbortSignal): Promise<CacheMountLease> {
    const hex = createHash("sha256").update(id).digest("hex");
    for (;;) {
      signal.throwIfAborted();
      const name = this.#free(hex, sharing);
      if (name === undefined) {
        await this.#change(signal);
        continue;
      }
      const user = this.#users.get(name) ?? { count: 0, alone: false };
      this.#users.set(name, { count: user.count + 1, alone: sharing !== "shared" });
      try {
        await this.#made(name, id, fill);
      } catch (error) {
        this.#release(name);
        throw error;
      }
      const now = new Date();
      utimesSync(join(this.dir, name, "mount.json"), now, now);
      let released = false;
      const release = () => {
        if (released) return;
        released = true;
        this.#release(name);
      };
      return { path: join(this.dir, name, "files"), release };
    }
  }

  /** In no order. */
  async list(): Promise<KeptMount[]> {
    const names = readdirSync(this.dir).filter((name) => this.#read(name));
    const sizes = await sizesInChild(names.map((name) => join(this.dir, name, "files")));
    return names.flatMap((name, at) => {
      const kept = this.#read(name);
      const stat = statSync(join(this.dir, name, "mount.json"), { throwIfNoEntry: false });
      if (!kept || !stat) return [];
      return { name, ...kept, used: stat.mtimeMs, size: sizes[at] ?? 0, inUse: this.#users.has(name) };
    });
  }

  /** Of {@link list}; one that is in use stays. */
  remove(name: string): void {
    if (!this.#users.has(name) && this.#read(name)) this.discard(join(this.dir, name));
  }

  /** The files of an id as a tar, for the export of a cache; undefined when there is none. Nobody may be writing to it. */
  export(id: string, signal: AbortSignal): AsyncIterable<Uint8Array> | undefined {
    const name = createHash("sha256").update(id).digest("hex");
    if (!this.#read(name)) return undefined;
    return treeInChild({ kind: "rootfs", tree: { lowers: [join(this.dir, name, "files")] } }, signal);
  }

  /** Fills the directory of an id with a tar, unless there is one. In use it is a conflict. */
  async import(id: string, tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const name = createHash("sha256").update(id).digest("hex");
    if (this.#users.has(name)) throw conflict(`cache mount ${JSON.stringify(id.slice(0, 200))} is in use`);
    const unpack = async (path: string) => {
      const directory = openat(k.AT_FDCWD, path, k.O_RDONLY | k.O_DIRECTORY);
      try {
        await unpackInChild(directory, tar, signal);
      } finally {
        close(directory);
      }
    };
    (await this.lease(id, "locked", unpack, signal)).release();
  }

  /** What this step may have now; undefined: it has to wait. */
  #free(hex: string, sharing: Sharing): string | undefined {
    const user = this.#users.get(hex);
    if (!user || (sharing === "shared" && !user.alone)) return hex;
    if (sharing !== "private") return undefined;
    for (let n = 1; ; n++) if (!this.#users.has(`${hex}-${n}`)) return `${hex}-${n}`;
  }

  /** Several may want a new one at once: it is filled once, and appears whole. */
  async #made(name: string, id: string, fill: Fill): Promise<void> {
    const home = join(this.dir, name);
    for (;;) {
      const other = this.#filling.get(name);
      if (!other) break;
      await other.catch(() => {});
    }
    if (this.#read(name)) return;
    const filling = this.#fill(home, id, fill);
    this.#filling.set(name, filling);
    try {
      await filling;
    } finally {
      this.#filling.delete(name);
    }
  }

  async #fill(home: string, id: string, fill: Fill): Promise<void> {
    const temporary = `${home}.${randomBytes(4).toString("hex")}`;
    const files = join(temporary, "files");
    mkdirSync(files, { recursive: true, mode: 0o755 });
    try {
      await fill?.(files);
      const kept: Kept = { id, created: Date.now() };
      writeFileSync(join(temporary, "mount.json"), JSON.stringify(kept), { mode: 0o600 });
      this.discard(home);
      renameSync(temporary, home);
    } catch (error) {
      this.discard(temporary);
      throw error;
    }
  }

  #release(name: string): void {
    const user = this.#users.get(name)!;
    if (user.count === 1) this.#users.delete(name);
    else user.count--;
    for (const wake of [...this.#waiting]) wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  #read(name: string): Kept | undefined {
    if (!/^[0-9a-f]{64}(?:-\d{1,6})?$/.test(name)) return undefined;
    try {
      return JSON.parse(readFileSync(join(this.dir, name, "mount.json"), "utf8")) as Kept;
    } catch {
      // Of an engine that was killed while it was filled.
      return undefined;
    }
  }
}
