import { posix } from "node:path";
import { codeOf, SysError } from "../base/errors.ts";
import { readXattrs } from "../layers/attributes.ts";
import { type Component, toName } from "../layers/entry-path.ts";
import { fromHost, type IdRange, xattrsFromHost } from "../layers/owners.ts";
import { BLOCK, padding, type TarHeader, tarTypeOf, wholeSeconds } from "../layers/tar-header.ts";
import { encodeTarHeader } from "../layers/tar-write.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, openHeld, read, readdir, readlinkat, type Stat, statat } from "../linux/file.ts";
import { fileSystemOf } from "./kernel-files.ts";
import { IN_ROOT } from "./stat.ts";

export interface PackOptions {
  /** Where symlinks on the way to it resolve in: an O_PATH descriptor. */
  root: number;
  /** As {@link file://./path.ts} has it. */
  path: string;
  /** The name of its entry in the archive, in place of its own. */
  name?: string;
  /** The owners are those of this user namespace. */
  ids?: IdRange | undefined;
}

const CHUNK = 1 << 18;
/** Directories held open at a time, however deep a tree is. */
const OPEN_LEVELS = 64;
/** Below one directory: nothing is reached through a symlink. */
const BELOW = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS | k.RESOLVE_NO_MAGICLINKS;

interface Level {
  /** From the top; "" is the top itself. */
  path: string;
  names: Component[];
  /** Undefined while it is closed. */
  fd: number | undefined;
  stat: Stat;
}

/**
 * A file, or a directory with all that is below it, as `docker cp` has it in a tar: names begin with the last name of
 * the path, sorted; `dir/.` gives its contents; `/` gives names that begin with a slash. Times in whole seconds, hard
 * links inside it kept. No file is opened before it is known to be a regular one. Sockets are left out, and what the
 * kernel or the engine has mounted in every container (proc, sysfs, /dev), unless it is what the path names. A file that
 * changes meanwhile keeps its first size. Synchronous: for a process of its own. Errors are SysError.
 */
export function* pack(options: PackOptions): Generator<Uint8Array, void, undefined> {
  const { root, path, ids } = options;
  const base = options.name ?? posix.basename(path);
  const links = new Map<string, Buffer>();
  const top = openat2(root, path, k.O_PATH | k.O_NOFOLLOW, 0, IN_ROOT);
  const levels: Level[] = [];
  try {
    const stat = statat(top, "");
    if (!isDirectory(stat)) {
      yield* member(top, stat, toBytes(base));
    } else {
      yield* member(top, stat, toBytes(`${base}/`));
      levels.push(level("", top, stat));
    }
    for (let current = levels.at(-1); current; current = levels.at(-1)) {
      const name = current.names.shift();
      if (name === undefined) {
        leave(levels.pop()!);
        continue;
      }
      current.fd ??= openat2(top, toName(current.path || "."), k.O_RDONLY | k.O_DIRECTORY, 0, BELOW);
      const fd = tryOpen(current.fd, name);
      if (fd === undefined) continue;
      try {
        const stat = statat(fd, "");
        const inside = current.path === "" ? name : `${current.path}/${name}`;
        const shown = Buffer.concat([toBytes(`${base}/`), Buffer.from(inside, "latin1")]);
        if (!isDirectory(stat)) {
          yield* member(fd, stat, shown);
          continue;
        }
        yield* member(fd, stat, Buffer.concat([shown, Buffer.from("/")]));
        if (isForeign(fd, stat, current.stat, posix.join(path, inside))) continue;
        // The one that is furthest up is needed last.
        const far = levels.at(-OPEN_LEVELS);
        if (far) leave(far);
        levels.push(level(inside, fd, stat));
      } finally {
        close(fd);
      }
    }
    yield Buffer.alloc(2 * BLOCK);
  } finally {
    for (const one of levels) leave(one);
    close(top);
  }

  function* member(fd: number, stat: Stat, name: Buffer): Generator<Uint8Array> {
    const type = tarTypeOf(stat.mode);
    if (type === undefined) return;
    const header: TarHeader = {
      name,
      type,
      mode: stat.mode & 0o7777,
      uid: fromHost(stat.uid, ids),
      gid: fromHost(stat.gid, ids),
      size: 0,
      mtime: wholeSeconds(stat.mtime),
    };
    if (type === "symlink") header.linkname = readlinkat(fd, "");
    else header.xattrs = xattrsFromHost(readXattrs(fd), ids);
    if (type === "char" || type === "block") {
      header.devMajor = stat.rdevMajor;
      header.devMinor = stat.rdevMinor;
    }
    if (type !== "directory" && stat.nlink > 1) {
      const inode = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
      const first = links.get(inode);
      if (first) {
        yield encodeTarHeader({ ...header, type: "hardlink", linkname: first });
        return;
      }
      links.set(inode, name);
    }
    if (type !== "file") {
      yield encodeTarHeader(header);
      return;
    }
    // By the descriptor of what was looked at: under its name there could be a device by now.
    const content = openHeld(fd);
    try {
      yield encodeTarHeader({ ...header, size: stat.size });
      yield* contents(content, stat.size);
    } finally {
      close(content);
    }
  }
}

/** `/` has no name of its own: its entries begin with the slash. */
const toBytes = (base: string) => Buffer.from(base.startsWith("//") ? base.slice(1) : base);

const isDirectory = (stat: Stat) => (stat.mode & k.S_IFMT) === k.S_IFDIR;

/** What is mounted there is the kernel's or the engine's, not the container's. */
function isForeign(fd: number, stat: Stat, above: Stat, path: string): boolean {
  if (stat.devMajor === above.devMajor && stat.devMinor === above.devMinor) return false;
  return path === "/dev" || fileSystemOf(fd).kernel;
}

function level(path: string, directory: number, stat: Stat): Level {
  const fd = openat(directory, ".", k.O_RDONLY | k.O_DIRECTORY);
  try {
    const names = [...readdir(fd)].map(({ name }) => name.toString("latin1")).sort();
    return { path, names, fd, stat };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function leave(one: Level): void {
  if (one.fd !== undefined) close(one.fd);
  one.fd = undefined;
}

/** Undefined when it has gone. */
function tryOpen(directory: number, name: Component): number | undefined {
  try {
    return openat(directory, toName(name), k.O_PATH | k.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof SysError && codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Exactly `size` bytes and their padding: what was appended since is left out, what was cut off is zeros. */
function* contents(fd: number, size: number): Generator<Uint8Array> {
  for (let left = size; left > 0; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, left));
    const n = read(fd, buffer);
    const chunk = n === 0 ? buffer.fill(0) : buffer.subarray(0, n);
    left -= chunk.length;
    yield chunk;
  }
  if (padding(size) > 0) yield Buffer.alloc(padding(size));
}
