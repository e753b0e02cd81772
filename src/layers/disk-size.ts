import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, readdir, statat } from "../linux/file.ts";

const UNIT = 512;

/**
 * Bytes on the disk as du(1) counts them: blocks of files and of directories with everything in them, hard links once.
 * Nobody else writes to the trees, but for what comes and goes as a whole; what is not there is nothing.
 */
export function diskSize(paths: readonly string[]): number {
  const seen = new Set<string>();
  return paths.reduce((sum, path) => sum + below(k.AT_FDCWD, path, seen), 0);
}

function below(directory: number, name: string | Buffer, seen: Set<string>): number {
  try {
    const { mode, nlink, blocks, ino, devMajor, devMinor } = statat(directory, name);
    const isDirectory = (mode & k.S_IFMT) === k.S_IFDIR;
    if (!isDirectory && nlink > 1) {
      const key = `${devMajor}:${devMinor}:${ino}`;
      if (seen.has(key)) return 0;
      seen.add(key);
    }
    let size = blocks * UNIT;
    if (!isDirectory) return size;
    const fd = openat(directory, name, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    try {
      for (const entry of readdir(fd)) size += below(fd, entry.name, seen);
    } finally {
      close(fd);
    }
    return size;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return 0;
    throw error;
  }
}
