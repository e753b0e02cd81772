import { SysError } from "../base/errors.ts";
import { nativeNumber, sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { addressOf, bytes, rawSyscall, room, scratch, str } from "./ffi.ts";

/**
 * Files by descriptor: what node:fs lacks for hostile trees. `dirfd` is a directory descriptor or AT_FDCWD; `name` is
 * relative to it. Every descriptor returned is CLOEXEC and belongs to the caller, who closes it. Errors are SysError.
 */

export type Name = string | Uint8Array;
const shown = (name: Name) => (typeof name === "string" ? name : Buffer.from(name).toString());

/** openat2(2): `resolve` is a set of RESOLVE_*. EAGAIN (a rename raced with `..`) is retried a few times. */
export function openat2(dirfd: number, name: Name, flags: number, mode = 0, resolve = 0): number {
  const fd = tryOpenat2(dirfd, name, flags, mode, resolve);
  if (fd < 0) throw new SysError("openat2", shown(name), -fd);
  return fd;
}

/** {@link openat2}, with -errno in place of an error: for what is expected not to be there. */
export function tryOpenat2(dirfd: number, name: Name, flags: number, mode = 0, resolve = 0): number {
  return scratch(() => {
    const how = room(24);
    how.view.writeBigUInt64LE(BigInt(flags | k.O_CLOEXEC), 0);
    how.view.writeBigUInt64LE(BigInt(mode), 8);
    how.view.writeBigUInt64LE(BigInt(resolve), 16);
    const path = str(name);
    for (let tries = 0; ; tries++) {
      const fd = trySys("openat2", dirfd, path, how.address, 24);
      if (fd !== -11 || tries === 32) return fd;
    }
  });
}

/** openat(2). */
export function openat(dirfd: number, name: Name, flags: number, mode = 0): number {
  return scratch(() => sys("openat", shown(name), dirfd, str(name), flags | k.O_CLOEXEC, mode));
}

export function close(fd: number): void {
  rawSyscall(nativeNumber("close"), fd);
}

export function mkdirat(dirfd: number, name: Name, mode: number): void {
  scratch(() => sys("mkdirat", shown(name), dirfd, str(name), mode));
}

/** unlinkat(2): `flags` AT_REMOVEDIR for a directory. */
export function unlinkat(dirfd: number, name: Name, flags = 0): void {
  scratch(() => sys("unlinkat", shown(name), dirfd, str(name), flags));
}

export function symlinkat(target: Name, dirfd: number, name: Name): void {
  scratch(() => sys("symlinkat", shown(name), str(target), dirfd, str(name)));
}

export function linkat(oldDirfd: number, oldName: Name, newDirfd: number, newName: Name, flags = 0): void {
  scratch(() => sys("linkat", shown(newName), oldDirfd, str(oldName), newDirfd, str(newName), flags));
}

export function renameat(oldDirfd: number, oldName: Name, newDirfd: number, newName: Name): void {
  scratch(() => sys("renameat2", shown(newName), oldDirfd, str(oldName), newDirfd, str(newName), 0));
}

/** mknodat(2): `mode` holds the type; `dev` as {@link makedev} encodes it. */
export function mknodat(dirfd: number, name: Name, mode: number, dev: number): void {
  scratch(() => sys("mknodat", shown(name), dirfd, str(name), mode, dev));
}

/** The kernel's 32-bit dev_t encoding (new_encode_dev). */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** fchownat(2), not following a final symlink. `name` "" is `dirfd` itself. */
export function chownat(dirfd: number, name: Name, uid: number, gid: number): void {
  const flags = k.AT_SYMLINK_NOFOLLOW | (name.length === 0 ? k.AT_EMPTY_PATH : 0);
  scratch(() => sys("fchownat", shown(name), dirfd, str(name), uid, gid, flags));
}

/** fchmod(2); the descriptor may be O_PATH (then by way of /proc/self/fd, as fchmodat2 is Linux 6.6). */
export function chmod(fd: number, mode: number): void {
  scratch(() => {
    if (trySys("fchmod", fd, mode) < 0) sys("fchmodat", `fd ${fd}`, k.AT_FDCWD, str(`/proc/self/fd/${fd}`), mode);
  });
}

/** Nanoseconds since the epoch. */
export type Nanoseconds = bigint;

/** utimensat(2), not following a final symlink. `name` "" is `dirfd` itself. */
export function utimensat(dirfd: number, name: Name, atime: Nanoseconds, mtime: Nanoseconds): void {
  scratch(() => {
    const times = room(32);
    for (const [i, t] of [atime, mtime].entries()) {
      const seconds = t >= 0n ? t / 1_000_000_000n : (t - 999_999_999n) / 1_000_000_000n;
      times.view.writeBigInt64LE(seconds, i * 16);
      times.view.writeBigInt64LE(t - seconds * 1_000_000_000n, i * 16 + 8);
    }
    const flags = k.AT_SYMLINK_NOFOLLOW | (name.length === 0 ? k.AT_EMPTY_PATH : 0);
    sys("utimensat", shown(name), dirfd, str(name), times.address, flags);
  });
}

export function readlinkat(dirfd: number, name: Name): Buffer {
  return scratch(() => {
    const target = room(4096);
    const n = sys("readlinkat", shown(name), dirfd, str(name), target.address, 4096);
    return Buffer.from(target.view.subarray(0, n));
  });
}

/** Writes all of `data`. */
export function writeAll(fd: number, data: Uint8Array): void {
  const address = addressOf(data);
  for (let done = 0; done < data.length; ) {
    done += sys("write", `fd ${fd}`, fd, address + done, data.length - done);
  }
}

/** read(2) into `into`; 0 at the end. */
export function read(fd: number, into: Uint8Array): number {
  return sys("read", `fd ${fd}`, fd, addressOf(into), into.length);
}

/**
 * Opens for reading what an O_PATH descriptor holds, whatever its name leads to by now. For what is known to be a regular
 * file; another would not be waited for. The caller closes it.
 */
export function openHeld(fd: number): number {
  return openat(k.AT_FDCWD, `/proc/self/fd/${fd}`, k.O_RDONLY | k.O_NONBLOCK);
}

/** The first bytes of such a file, at most `size`. */
export function readHead(fd: number, size: number): Buffer {
  const open = openHeld(fd);
  try {
    const head = Buffer.alloc(size);
    return head.subarray(0, read(open, head));
  } finally {
    close(open);
  }
}

/** Writes a regular file that must not be there yet, not even as a link; false where it is. */
export function writeNewFile(path: string, content: string, mode: number): boolean {
  return scratch(() => {
    const flags = k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_CLOEXEC;
    const fd = trySys("openat", k.AT_FDCWD, str(path), flags, mode);
    if (fd === -EEXIST) return false;
    if (fd < 0) throw new SysError("open", path, -fd);
    try {
      writeAll(fd, Buffer.from(content));
    } catch (error) {
      // On a full disk: half a file would be taken for a whole one.
      trySys("unlinkat", k.AT_FDCWD, str(path), 0);
      throw error;
    } finally {
      close(fd);
    }
    return true;
  });
}

const EEXIST = 17;
const PAGE = 4096;

/**
 * Content of a file of the kernel's by path; undefined where it cannot be opened or read. Without an error object for
 * what is expected not to be there, which is most of what node:fs takes for it.
 */
export function readText(path: string): string | undefined {
  return scratch(() => {
    const fd = trySys("openat", k.AT_FDCWD, str(path), k.O_RDONLY | k.O_CLOEXEC, 0);
    if (fd < 0) return undefined;
    try {
      const chunks: Buffer[] = [];
      const { address, view } = room(PAGE);
      for (;;) {
        const n = trySys("read", fd, address, PAGE);
        if (n < 0) return undefined;
        if (n === 0) return Buffer.concat(chunks).toString();
        chunks.push(Buffer.from(view.subarray(0, n)));
      }
    } finally {
      close(fd);
    }
  });
}

/** What statx(2) says. `mode` holds type and permission bits; times in nanoseconds. */
export interface Stat {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  ino: bigint;
  size: number;
  blocks: number;
  mtime: Nanoseconds;
  ctime: Nanoseconds;
  rdevMajor: number;
  rdevMinor: number;
  devMajor: number;
  devMinor: number;
}

/** statx(2), not following a final symlink. `name` "" is `dirfd` itself. */
export function statat(dirfd: number, name: Name): Stat {
  return scratch(() => {
    const { address, view: v } = room(256);
    const flags = k.AT_SYMLINK_NOFOLLOW | (name.length === 0 ? k.AT_EMPTY_PATH : 0);
    sys("statx", shown(name), dirfd, str(name), flags, 0x7ff, address);
    const time = (at: number) => v.readBigInt64LE(at) * 1_000_000_000n + BigInt(v.readUInt32LE(at + 8));
    return {
      nlink: v.readUInt32LE(16),
      uid: v.readUInt32LE(20),
      gid: v.readUInt32LE(24),
      mode: v.readUInt16LE(28),
      ino: v.readBigUInt64LE(32),
      size: Number(v.readBigUInt64LE(40)),
      blocks: Number(v.readBigUInt64LE(48)),
      ctime: time(96),
      mtime: time(112),
      rdevMajor: v.readUInt32LE(128),
      rdevMinor: v.readUInt32LE(132),
      devMajor: v.readUInt32LE(136),
      devMinor: v.readUInt32LE(140),
    };
  });
}

/** Extended attributes of an open file; works for O_PATH descriptors of anything but a symlink. */
const self = (fd: number) => str(`/proc/self/fd/${fd}`);

export function setxattr(fd: number, name: string, value: Uint8Array): void {
  scratch(() => sys("setxattr", name, self(fd), str(name), bytes(value), value.length, 0));
}

/** The value, or undefined where the file has no such attribute or the file system none at all. */
export function getxattr(fd: number, name: string): Buffer | undefined {
  return scratch(() => {
    const value = room(65536);
    const n = trySys("getxattr", self(fd), str(name), value.address, 65536);
    if (n === -61 || n === -95) return undefined;
    if (n < 0) throw new SysError("getxattr", name, -n);
    return Buffer.from(value.view.subarray(0, n));
  });
}

export function listxattr(fd: number): string[] {
  return scratch(() => {
    const names = room(65536);
    const n = trySys("listxattr", self(fd), names.address, 65536);
    if (n === -95) return [];
    if (n < 0) throw new SysError("listxattr", `fd ${fd}`, -n);
    return names.view.toString("utf8", 0, n).split("\0").slice(0, -1);
  });
}

export interface Entry {
  name: Buffer;
  /** DT_*: S_IFMT >> 12; 0 where the file system does not say. */
  type: number;
}

/** Names in an open directory (readable, not O_PATH), without `.` and `..`; reads from its current offset. */
export function* readdir(fd: number): Generator<Entry> {
  const buffer = Buffer.allocUnsafeSlow(32768);
  for (;;) {
    const n = sys("getdents64", `fd ${fd}`, fd, addressOf(buffer), buffer.length);
    if (n === 0) return;
    for (let at = 0; at < n; ) {
      const length = buffer.readUInt16LE(at + 16);
      const end = buffer.indexOf(0, at + 19);
      const name = Buffer.from(buffer.subarray(at + 19, end));
      const type = buffer[at + 18]!;
      at += length;
      if (!(name[0] === 46 && (name.length === 1 || (name.length === 2 && name[1] === 46)))) yield { name, type };
    }
  }
}

/** fsync(2). */
export function fsync(fd: number): void {
  sys("fsync", `fd ${fd}`, fd);
}
