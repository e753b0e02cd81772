import { codeOf, invalid } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import {
  chmod,
  chownat,
  close,
  getxattr,
  linkat,
  listxattr,
  makedev,
  mkdirat,
  mknodat,
  openat,
  openat2,
  read,
  readdir,
  readlinkat,
  type Stat,
  setxattr,
  statat,
  symlinkat,
  utimensat,
  writeAll,
} from "../linux/file.ts";

/** What an image may make us copy: it is memory, and takes time. */
export interface CopyLimits {
  entries: number;
  bytes: number;
  /** Of directories in each other; each level holds two descriptors. */
  depth: number;
}

export const COPY_LIMITS: CopyLimits = { entries: 100_000, bytes: 1 << 30, depth: 200 };

export interface CopyOptions {
  limits?: CopyLimits;
  /** For messages. */
  what?: string;
  /** Files share their blocks where the file system can (FICLONE, ioctl_ficlonerange(2)). */
  reflink?: boolean;
  /** What vanishes meanwhile is left out. */
  live?: boolean;
  /** The source is a layer of an image: overlayfs's own marks are not content. */
  layer?: boolean;
}

/**
 * Copies what is in the directory `source` into the empty directory `target`, with owners, modes, times, extended
 * attributes, links and special files; `target` itself gets the owner of `source`. Both are open descriptors, which stay
 * the caller's. The source is hostile: each name is opened by itself, no symlink is followed, and nothing but a regular
 * file is read. More than `limits` is an invalid-argument error.
 */
export function copyTree(source: number, target: number, options: CopyOptions = {}): void {
  const { uid, gid } = statat(source, "");
  chownat(target, "", uid, gid);
  new Copy(target, options).directory(source, target, "", 0);
}

class Copy {
  readonly limits: CopyLimits;
  readonly what: string;
  readonly live: boolean;
  readonly layer: boolean;
  #reflink: boolean;
  #entries = 0;
  #bytes = 0;
  readonly #buffer = Buffer.alloc(1 << 18);
  /** Files with several names, by device and inode: the path of the first. */
  readonly #first = new Map<string, Buffer>();

  constructor(
    readonly root: number,
    { limits = COPY_LIMITS, what = "tmpcopyup", reflink = false, live = false, layer = false }: CopyOptions,
  ) {
    this.limits = limits;
    this.what = what;
    this.#reflink = reflink;
    this.live = live;
    this.layer = layer;
  }

  directory(source: number, target: number, path: Buffer | "", depth: number): void {
    if (depth > this.limits.depth) throw invalid(`${this.what}: the directories are over ${this.limits.depth} deep`);
    for (const name of this.#names(source)) {
      const below = path === "" ? name : Buffer.concat([path, Buffer.from("/"), name]);
      this.#entry(source, target, name, below, depth);
    }
  }

  /** All at once: a descriptor less is held on each level. */
  #names(directory: number): Buffer[] {
    const names: Buffer[] = [];
    const list = openat(directory, ".", k.O_RDONLY | k.O_DIRECTORY);
    try {
      for (const { name } of readdir(list)) {
        if (++this.#entries > this.limits.entries) throw invalid(`${this.what}: over ${this.limits.entries} files`);
        names.push(name);
      }
    } finally {
      close(list);
    }
    return names;
  }

  #entry(source: number, target: number, name: Buffer, path: Buffer, depth: number): void {
    let fd: number;
    try {
      fd = openat2(source, name, k.O_PATH | k.O_NOFOLLOW, 0, k.RESOLVE_BENEATH);
    } catch (error) {
      if (this.live && codeOf(error) === "ENOENT") return;
      throw error;
    }
    try {
      const stat = statat(fd, "");
      const type = stat.mode & k.S_IFMT;
      if (this.layer && type === k.S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0) return;
      const inode = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
      if (type !== k.S_IFDIR && stat.nlink > 1) {
        const first = this.#first.get(inode);
        if (first) {
          linkat(this.root, first, target, name);
          return;
        }
        this.#first.set(inode, path);
      }
      if (type === k.S_IFLNK) {
        symlinkat(readlinkat(fd, ""), target, name);
        chownat(target, name, stat.uid, stat.gid);
        utimensat(target, name, stat.mtime, stat.mtime);
        return;
      }
      if (type === k.S_IFDIR) mkdirat(target, name, 0o700);
      else mknodat(target, name, type | 0o600, makedev(stat.rdevMajor, stat.rdevMinor));
      const copy = openat(target, name, type === k.S_IFDIR ? k.O_PATH | k.O_DIRECTORY : k.O_PATH | k.O_NOFOLLOW);
      try {
        if (type === k.S_IFDIR) this.directory(fd, copy, path, depth + 1);
        else if (type === k.S_IFREG) this.#content(fd, copy, stat);
        copyAttributes(fd, copy, stat, this.layer);
      } finally {
        close(copy);
      }
    } finally {
      close(fd);
    }
  }

  /** Holes stay holes: a sparse file takes no more memory than it has data. */
  #content(source: number, target: number, { size }: Stat): void {
    // By the link of the kernel's to what is open: it is a regular file, so opening it waits for nobody.
    const from = openat(k.AT_FDCWD, `/proc/self/fd/${source}`, k.O_RDONLY);
    const to = openat(k.AT_FDCWD, `/proc/self/fd/${target}`, k.O_WRONLY);
    try {
      if (this.#reflink && size > 0) {
        const cloned = trySys("ioctl", to, FICLONE, from);
        if (cloned === 0) return;
        // Whether it can is the file system's, not the file's.
        this.#reflink = false;
      }
      for (let at = 0; at < size; ) {
        const start = trySys("lseek", from, at, SEEK_DATA);
        if (start < 0) break;
        const end = Math.max(start + 1, trySys("lseek", from, start, SEEK_HOLE));
        trySys("lseek", from, start, SEEK_SET);
        trySys("lseek", to, start, SEEK_SET);
        for (at = start; at < end; ) {
          const n = read(from, this.#buffer.subarray(0, Math.min(this.#buffer.length, end - at)));
          if (n === 0) break;
          this.#bytes += n;
          if (this.#bytes > this.limits.bytes) throw invalid(`${this.what}: over ${this.limits.bytes} bytes`);
          writeAll(to, this.#buffer.subarray(0, n));
          at += n;
        }
        if (at < end) break;
      }
      if (size > 0 && trySys("ftruncate", to, size) < 0)
        throw invalid(`${this.what}: a file of ${size} bytes is too large`);
    } finally {
      close(from);
      close(to);
    }
  }
}

const FICLONE = 0x40049409;
const SEEK_SET = 0;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Owner, mode, extended attributes and times of an open file, given to another. */
export function copyAttributes(source: number, target: number, { mode, uid, gid, mtime }: Stat, layer = false): void {
  // Changing the owner clears the set-id bits, and a file's capabilities: so it comes first.
  chownat(target, "", uid, gid);
  chmod(target, mode & 0o7777);
  for (const name of listxattr(source)) {
    if (layer && name.startsWith("trusted.overlay.")) continue;
    const value = getxattr(source, name);
    try {
      if (value) setxattr(target, name, value);
    } catch (error) {
      // tmpfs has user.* since Linux 6.6.
      if (codeOf(error) !== "EOPNOTSUPP" && codeOf(error) !== "ENOTSUP") throw error;
    }
  }
  utimensat(target, "", mtime, mtime);
}
