import { SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, type Name, openat, readdir, unlinkat } from "../linux/file.ts";

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
