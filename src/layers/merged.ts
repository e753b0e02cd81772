import { codeOf, SysError } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str } from "../linux/ffi.ts";
import { close, getxattr, openat, openat2, readdir, type Stat, statat } from "../linux/file.ts";
import { OPAQUE, readXattrs } from "./attributes.ts";
import { type Component, toName } from "./entry-path.ts";
import { fromHost, type IdRange, xattrsFromHost } from "./owners.ts";

/** A file as an overlay shows it, and the layer it is in (0 is the top). */
export interface MergedFile {
  name: Component;
  stat: Stat;
  layer: number;
  /** For a directory: itself, merged. */
  directory?: MergedDirectory;
}

/** A directory that the layers `layers` (top first) make up together; the first gives owner, mode and times. */
export interface MergedDirectory {
  path: readonly Component[];
  layers: readonly number[];
}

const ENOENT = 2;
const GONE = new Set([ENOENT, 20 /* ENOTDIR */, 40 /* ELOOP */]);
// A container may be writing to the top layer: no symlink it puts in the way is followed.
const RESOLVE = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS | k.RESOLVE_NO_MAGICLINKS;

/**
 * Layer directories seen as overlayfs shows them (Documentation/filesystems/overlayfs.rst): char 0:0 is a whiteout,
 * {@link OPAQUE} hides what is below. Made for layers without redirects and metacopy. The directories are
 * held by descriptor, without what is mounted below them, as an overlay has them; `close` lets go.
 */
export class MergedTree {
  readonly #roots: number[] = [];

  /**
   * `paths`: top first, trusted. `ids`: the owners in the first one are those of this user namespace, and are shown as it
   * sees them. A path that does not open is a SysError.
   */
  constructor(
    paths: readonly string[],
    private readonly ids?: IdRange | undefined,
  ) {
    try {
      for (const path of paths) this.#roots.push(openRoot(path));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get root(): MergedDirectory {
    return { path: [], layers: this.#roots.map((_, i) => i) };
  }

  close(): void {
    for (const fd of this.#roots.splice(0)) close(fd);
  }

  /** Opens a path of one layer, without following a symlink anywhere. The caller closes it. */
  open(layer: number, path: readonly Component[], flags: number): number {
    const name = path.length === 0 ? "." : toName(path.join("/"));
    return openat2(this.#roots[layer]!, name, flags | k.O_NOFOLLOW, 0, RESOLVE);
  }

  /** Like {@link open}; undefined where there is no such path. */
  tryOpen(layer: number, path: readonly Component[], flags: number): number | undefined {
    try {
      return this.open(layer, path, flags);
    } catch (error) {
      if (error instanceof SysError && GONE.has(error.errno)) return undefined;
      throw error;
    }
  }

  /** Of an open file of a layer, or of a name in an open directory of it. */
  stat(layer: number, fd: number, name: string | Buffer = ""): Stat {
    const stat = statat(fd, name);
    if (layer > 0 || !this.ids) return stat;
    return { ...stat, uid: fromHost(stat.uid, this.ids), gid: fromHost(stat.gid, this.ids) };
  }

  /** Of an open file of a layer; it may be O_PATH, but not a symlink. */
  xattrs(layer: number, fd: number): Map<string, Buffer> {
    return xattrsFromHost(readXattrs(fd), layer > 0 ? undefined : this.ids);
  }

  /** What the directory shows under this name. */
  lookup(directory: MergedDirectory, name: Component): MergedFile | undefined {
    const path = [...directory.path, name];
    let found: { stat: Stat; layer: number } | undefined;
    const layers: number[] = [];
    for (const layer of directory.layers) {
      const fd = this.tryOpen(layer, path, k.O_PATH);
      if (fd === undefined) continue;
      try {
        const stat = this.stat(layer, fd);
        if (isWhiteout(stat)) break;
        if (!isDirectory(stat)) {
          found ??= { stat, layer };
          break;
        }
        found ??= { stat, layer };
        layers.push(layer);
        if (isOpaque(fd)) break;
      } finally {
        close(fd);
      }
    }
    if (!found) return undefined;
    return { name, ...found, ...(layers.length > 0 && { directory: { path, layers } }) };
  }

  /** All that the directory shows, sorted by bytes. A directory that vanishes meanwhile is shown without its files. */
  list(directory: MergedDirectory): MergedFile[] {
    const files = new Map<Component, MergedFile & { layers: number[]; open: boolean }>();
    const hidden = new Set<Component>();
    for (const [i, layer] of directory.layers.entries()) {
      const fd = this.tryOpen(layer, directory.path, k.O_RDONLY | k.O_DIRECTORY);
      if (fd === undefined) continue;
      try {
        for (const entry of readdir(fd)) {
          const name = entry.name.toString("latin1");
          const known = files.get(name);
          if (hidden.has(name) || (known && !known.open)) continue;
          const stat = this.#tryStat(layer, fd, entry.name);
          if (!stat) continue;
          const below = isDirectory(stat);
          if (known) {
            known.open = below;
          } else if (isWhiteout(stat)) {
            hidden.add(name);
            continue;
          } else {
            files.set(name, { name, stat, layer, layers: [], open: below });
          }
          if (!below) continue;
          const file = files.get(name)!;
          file.layers.push(layer);
          if (i < directory.layers.length - 1 && this.opaque(layer, [...directory.path, name])) file.open = false;
        }
      } finally {
        close(fd);
      }
    }
    return [...files.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, stat, layer, layers }) => ({
        name,
        stat,
        layer,
        ...(layers.length > 0 && { directory: { path: [...directory.path, name], layers } }),
      }));
  }

  /** The names in one layer's directory, whiteouts among them, in no order; none where it has vanished. */
  listRaw(layer: number, path: readonly Component[]): { name: Component; stat: Stat }[] {
    const fd = this.tryOpen(layer, path, k.O_RDONLY | k.O_DIRECTORY);
    if (fd === undefined) return [];
    try {
      const files: { name: Component; stat: Stat }[] = [];
      for (const { name } of readdir(fd)) {
        const stat = this.#tryStat(layer, fd, name);
        if (stat) files.push({ name: name.toString("latin1"), stat });
      }
      return files;
    } finally {
      close(fd);
    }
  }

  #tryStat(layer: number, fd: number, name: Buffer): Stat | undefined {
    try {
      return this.stat(layer, fd, name);
    } catch (error) {
      if (error instanceof SysError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }

  /** Whether this directory of one layer hides what is below it. */
  opaque(layer: number, path: readonly Component[]): boolean {
    const fd = this.tryOpen(layer, path, k.O_PATH | k.O_DIRECTORY);
    if (fd === undefined) return false;
    try {
      return isOpaque(fd);
    } finally {
      close(fd);
    }
  }
}

export const isDirectory = (stat: Stat) => (stat.mode & k.S_IFMT) === k.S_IFDIR;

export const isWhiteout = (stat: Stat) =>
  (stat.mode & k.S_IFMT) === k.S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0;

/** `fd` may be O_PATH. */
export function isOpaque(fd: number): boolean {
  try {
    return getxattr(fd, OPAQUE)?.toString() === "y";
  } catch (error) {
    // A user's xattrs take the right to read: a directory of the machine's that this user may not.
    if (codeOf(error) === "EACCES") return false;
    throw error;
  }
}

/** A private copy of the mount without its submounts; where mounting is not allowed, the directory itself. */
function openRoot(path: string): number {
  const flags = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC;
  const fd = scratch(() => trySys("open_tree", k.AT_FDCWD, str(path), flags));
  return fd >= 0 ? fd : openat(k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY);
}
