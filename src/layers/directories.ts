import { SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import {
  close,
  mkdirat,
  type Nanoseconds,
  openat,
  openat2,
  type Stat,
  setxattr,
  statat,
  unlinkat,
} from "../linux/file.ts";
import { OPAQUE, PLAIN_DIRECTORY, readAttributes, setAttributes } from "./attributes.ts";
import { type Component, toName, toText } from "./entry-path.ts";
import { isDirectory, isOpaque, isWhiteout, type MergedDirectory, type MergedTree } from "./merged.ts";

const CACHED = 256;
const OPEN = k.O_RDONLY | k.O_DIRECTORY;
const RESOLVE = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;

/**
 * The directories of a layer that is being unpacked, by path, open for the *at calls. A symlink that the layer itself
 * made may stand for a directory; it is resolved inside the root, wherever it points. Nobody else may change the tree.
 */
export class Directories {
  readonly #root: number;
  readonly #lowers: MergedTree;
  readonly #cache = new Map<string, number>();
  /** Those made where this layer hides what is below. */
  readonly #hidden = new Set<string>();
  readonly #lowerCache = new Map<string, MergedDirectory | undefined>();

  /** Owns neither `root` nor `lowers`, the layers below. */
  constructor(root: number, lowers: MergedTree) {
    this.#root = root;
    this.#lowers = lowers;
  }

  close(): void {
    this.forget();
  }

  /** Must be called after a directory or symlink has been removed: its descriptors may be of what is gone. */
  forget(): void {
    for (const fd of this.#cache.values()) close(fd);
    this.#cache.clear();
  }

  /**
   * The directory at `path`, made with its parents where missing. Valid until the next call. `inherited` hears of each
   * one made after a lower layer's, with the time it should end with.
   */
  ensure(path: readonly Component[], inherited: (path: readonly Component[], mtime: Nanoseconds) => void): number {
    if (path.length === 0) return this.#root;
    const key = path.join("/");
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const existing = this.open(path);
    if (existing !== undefined) return this.#keep(key, existing);

    const parent = this.ensure(path.slice(0, -1), inherited);
    const last = path.at(-1)!;
    const replaced = this.#freshDirectory(parent, last);
    const hidden = replaced || isOpaque(parent) || this.#hidden.has(path.slice(0, -1).join("/"));
    if (hidden) this.#hidden.add(key);
    const fd = openat(parent, toName(last), OPEN | k.O_NOFOLLOW);
    try {
      if (replaced) makeOpaque(fd);
      // Overlayfs shows the topmost directory's attributes, so this one must not change what the layer below says.
      const lower = hidden ? undefined : this.inheritLower(path, fd);
      if (!lower) setAttributes(fd, PLAIN_DIRECTORY);
      else inherited(path, lower.mtime);
    } catch (error) {
      close(fd);
      throw error;
    }
    return this.#keep(key, fd);
  }

  /** A new descriptor of the caller's; undefined where nothing is. A file or whiteout in its place is undefined too. */
  open(path: readonly Component[], flags = 0): number | undefined {
    try {
      return openat2(this.#root, toName(path.join("/") || "."), OPEN | flags, 0, RESOLVE);
    } catch (error) {
      if (error instanceof SysError && ["ENOENT", "ENOTDIR", "ELOOP"].includes(error.code)) return undefined;
      throw error;
    }
  }

  /** Gives `fd` owner, mode and xattrs of the lower layers' directory at `path`; undefined if they show none. */
  inheritLower(path: readonly Component[], fd: number): Stat | undefined {
    const directory = this.#lower(path);
    const layer = directory?.layers[0];
    if (layer === undefined) return undefined;
    const lower = this.#lowers.open(layer, path, k.O_PATH | k.O_DIRECTORY);
    try {
      const stat = statat(lower, "");
      setAttributes(fd, readAttributes(lower, stat));
      return stat;
    } finally {
      close(lower);
    }
  }

  /** Makes `name` in `parent`, replacing a whiteout; whether there was one. */
  #freshDirectory(parent: number, name: Component): boolean {
    try {
      mkdirat(parent, toName(name), 0o700);
      return false;
    } catch (error) {
      if (!(error instanceof SysError && error.code === "EEXIST")) throw error;
    }
    const stat = statat(parent, toName(name));
    if (isWhiteout(stat)) {
      unlinkat(parent, toName(name));
      mkdirat(parent, toName(name), 0o700);
      return true;
    }
    const what = isDirectory(stat)
      ? "a directory"
      : (stat.mode & k.S_IFMT) === k.S_IFLNK
        ? "a dangling symlink"
        : "a file";
    throw new Error(`its parent ${JSON.stringify(toText(name))} is ${what}`);
  }

  #keep(key: string, fd: number): number {
    if (this.#cache.size >= CACHED) {
      const [oldest, stale] = this.#cache.entries().next().value!;
      close(stale);
      this.#cache.delete(oldest);
    }
    this.#cache.set(key, fd);
    return fd;
  }

  #lower(path: readonly Component[]): MergedDirectory | undefined {
    if (path.length === 0) return this.#lowers.root;
    const key = path.join("/");
    if (this.#lowerCache.has(key)) return this.#lowerCache.get(key);
    const parent = this.#lower(path.slice(0, -1));
    const directory = parent && this.#lowers.lookup(parent, path.at(-1)!)?.directory;
    if (this.#lowerCache.size >= CACHED) this.#lowerCache.clear();
    this.#lowerCache.set(key, directory);
    return directory;
  }
}

/** Hides what the layers below have in this directory (overlayfs.rst, "whiteouts and opaque directories"). */
export function makeOpaque(fd: number): void {
  setxattr(fd, OPAQUE, Buffer.from("y"));
}
