import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, readdir, statat } from "../linux/file.ts";

/** How many entries are looked at before others get their turn. */
const TURN = 2048;

/** Of a directory that is not there any more, or not a directory, or too deep for a path of 4095 bytes. */
const SKIPPED = ["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"];

/**
 * Bytes of the files below a directory, hard links counted once; 0 if there is none. A running container may change the
 * tree meanwhile, so every directory is opened from the top without following a symlink, also on the way to it (as in
 * CVE-2018-15664). What is deeper than a path can say is not counted.
 */
export async function dirSize(path: string): Promise<number> {
  let root: number;
  try {
    root = openat(k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return 0;
    throw error;
  }
  const seen = new Set<string>();
  let looked = 0;
  const pending: Buffer[] = [Buffer.from(".")];
  let size = 0;
  try {
    while (pending.length > 0) {
      for (const bytes of inDirectory(root, pending, seen)) {
        size += bytes;
        if (++looked % TURN === 0) await new Promise(setImmediate);
      }
    }
  } finally {
    close(root);
  }
  return size;
}

/**
 * Bytes of each entry of the last directory of `pending`, which it takes, and puts those below it in its place; 0 for
 * one that does not count.
 */
function* inDirectory(root: number, pending: Buffer[], seen: Set<string>): Generator<number> {
  const directory = pending.pop()!;
  let fd: number;
  try {
    fd = openat2(root, directory, k.O_RDONLY | k.O_DIRECTORY, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS);
  } catch (error) {
    if (!SKIPPED.includes(codeOf(error) ?? "")) throw error;
    yield 0;
    return;
  }
  try {
    for (const { name } of readdir(fd)) yield sizeOf(fd, directory, name, pending, seen);
  } catch (error) {
    // The directory itself was removed while it was read.
    if (codeOf(error) !== "ENOENT") throw error;
  } finally {
    close(fd);
  }
}

function sizeOf(fd: number, directory: Buffer, name: Buffer, pending: Buffer[], seen: Set<string>): number {
  try {
    const { mode, nlink, ino, size } = statat(fd, name);
    if ((mode & k.S_IFMT) === k.S_IFDIR) {
      pending.push(Buffer.concat([directory, SLASH, name]));
      return 0;
    }
    if (nlink === 1) return size;
    if (seen.has(String(ino))) return 0;
    seen.add(String(ino));
    return size;
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return 0;
  }
}

const SLASH = Buffer.from("/");
