import { unlink } from "node:fs/promises";
import { codeOf, SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, type Name, openat, readdir, statat, unlinkat } from "../linux/file.ts";

const EISDIR = 21;
const EPERM = 1;
const ENOENT = 2;

/**
 * Removes `name` in the directory `parent` with all that is below it; one that is not there is no error. Never follows
 * a symlink, and holds one descriptor however deep a hostile tree is. The tree must not be in use by anyone else.
 */
export function removeTree(parent: number, name: Name): void {
  if (unlinked(parent, name)) return;
  const flags = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW;
  const above: Name[] = [];
  let directory = openat(parent, name, flags);
  try {
    for (;;) {
      const child = emptied(directory);
      if (child !== undefined) {
        const next = openat(directory, child, flags);
        close(directory);
        directory = next;
        above.push(child);
      } else {
        const done = above.pop();
        if (done === undefined) break;
        const up = openat(directory, "..", flags);
        close(directory);
        directory = up;
        unlinkat(directory, done, k.AT_REMOVEDIR);
      }
    }
  } finally {
    close(directory);
  }
  unlinkat(parent, name, k.AT_REMOVEDIR);
}

/**
 * {@link removeTree} for a tree of any size: other work gets its turn, and files, whose blocks may take long to free, go
 * off the event loop. By descriptors for their speed too: node's rm(3) resolves each path anew, so that a tree of 5,000
 * levels, which any container can make, takes it most of a minute.
 */
export async function removeTreeInTurns(parent: number, name: Name): Promise<void> {
  if (unlinked(parent, name)) return;
  const flags = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW;
  const above: Name[] = [];
  let directory = openat(parent, name, flags);
  try {
    for (let turns = 1; ; turns++) {
      const child = await emptiedInTurns(directory);
      const done = child === undefined ? above.pop() : undefined;
      if (child === undefined && done === undefined) break;
      const next = openat(directory, child ?? "..", flags);
      close(directory);
      directory = next;
      if (child !== undefined) above.push(child);
      else unlinkat(directory, done!, k.AT_REMOVEDIR);
      if (turns % TURN === 0) await new Promise(setImmediate);
    }
  } finally {
    close(directory);
  }
  unlinkat(parent, name, k.AT_REMOVEDIR);
}

const SMALL_ENTRIES = 32;
const SMALL_DEPTH = 4;
const BLOCK = 4096;

/** Whether `name` in the directory `parent` is a tree of a few names on few levels. */
export function isSmallTree(parent: number, name: Name): boolean {
  let room = SMALL_ENTRIES;
  const fits = (above: number, name: Name, depth: number): boolean => {
    if (depth > SMALL_DEPTH) return false;
    const directory = openat(above, name, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    try {
      // No directories in it, and one block of names (ext4, overlay's usual place): no need to read them.
      const { nlink, size } = statat(directory, "");
      if (nlink === 2 && size === BLOCK) return true;
      for (const entry of readdir(directory)) {
        if (--room < 0 || entry.type === 0) return false;
        if (entry.type === DT_DIR && !fits(directory, entry.name, depth + 1)) return false;
      }
      return true;
    } finally {
      close(directory);
    }
  };
  return fits(parent, name, 1);
}

const TURN = 256;
const DT_DIR = 4;
/** As many as the thread pool can use, and a few to come. */
const AT_ONCE = 16;

async function emptiedInTurns(directory: number): Promise<Name | undefined> {
  let files: Promise<void>[] = [];
  for (const { name, type } of readdir(directory)) {
    // The files before it are gone, or the descriptor would be closed under their feet.
    if (type === DT_DIR || (type === 0 && !unlinked(directory, name))) {
      await Promise.all(files);
      return name;
    }
    if (type !== 0) files.push(unlinkLater(directory, name));
    if (files.length < AT_ONCE) continue;
    await Promise.all(files);
    files = [];
  }
  await Promise.all(files);
  return undefined;
}

async function unlinkLater(directory: number, name: Buffer): Promise<void> {
  try {
    await unlink(Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name]));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** {@link removeTree} of each name in a directory given by path. */
export function removeTrees(directory: string, names: readonly string[]): void {
  const fd = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  try {
    for (const name of names) removeTree(fd, name);
  } finally {
    close(fd);
  }
}

/** Unlinks what is not a directory; the first directory met, or undefined when nothing is left. */
function emptied(directory: number): Name | undefined {
  for (const entry of readdir(directory)) if (!unlinked(directory, entry.name)) return entry.name;
  return undefined;
}

/** False for a directory. */
function unlinked(parent: number, name: Name): boolean {
  try {
    unlinkat(parent, name);
    return true;
  } catch (error) {
    const errno = error instanceof SysError ? error.errno : 0;
    if (errno === ENOENT) return true;
    // EPERM is what POSIX asks for; Linux file systems say EISDIR.
    if (errno === EISDIR || errno === EPERM) return false;
    throw error;
  }
}
