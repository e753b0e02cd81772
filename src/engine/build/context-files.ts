import { invalid, SysError } from "../../base/errors.ts";
import { IgnoreRules } from "../../base/ignore.ts";
import { MAX_DOCKERFILE } from "../../build/dockerfile/parse.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, openat2, read, readdir, statat, unlinkat } from "../../linux/file.ts";

const IN_ROOT = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;

/** A text file of a context, by its path; symlinks stay inside. Undefined where there is none. */
export function readContextFile(directory: string, path: string): string | undefined {
  const root = openat(k.AT_FDCWD, directory, k.O_PATH | k.O_DIRECTORY);
  try {
    const probe = openat2(root, path, k.O_PATH, 0, IN_ROOT);
    try {
      const { mode, size } = statat(probe, "");
      if ((mode & k.S_IFMT) !== k.S_IFREG)
        throw invalid(`${path.slice(0, 200)} in the build context is no regular file`);
      if (size > MAX_DOCKERFILE)
        throw invalid(`${path.slice(0, 200)} in the build context is larger than ${MAX_DOCKERFILE} bytes`);
    } finally {
      close(probe);
    }
    const file = openat2(root, path, k.O_RDONLY, 0, IN_ROOT);
    try {
      const chunks: Buffer[] = [];
      for (;;) {
        const buffer = Buffer.alloc(1 << 16);
        const count = read(file, buffer);
        if (count === 0) break;
        chunks.push(buffer.subarray(0, count));
      }
      return Buffer.concat(chunks).toString();
    } finally {
      close(file);
    }
  } catch (error) {
    if (error instanceof SysError && ["ENOENT", "ENOTDIR"].includes(error.code)) return undefined;
    if (error instanceof SysError && ["ELOOP", "ENAMETOOLONG"].includes(error.code)) {
      throw invalid(`open ${path.slice(0, 200)} in the build context: ${error.code}`);
    }
    throw error;
  } finally {
    close(root);
  }
}

const TURN = 500;

/** Removes what the context's own ignore file excludes; clients that send all of it leave that to the engine. */
export async function removeIgnored(directory: string, dockerfile: string): Promise<void> {
  const text = readContextFile(directory, `${dockerfile}.dockerignore`) ?? readContextFile(directory, ".dockerignore");
  if (text === undefined) return;
  const rules = IgnoreRules.parse(text);
  if (rules.empty) return;
  let seen = 0;
  /** Whether something is left in it. */
  const walk = async (fd: number, path: string): Promise<boolean> => {
    let left = false;
    for (const { name } of [...readdir(fd)]) {
      if (++seen % TURN === 0) await new Promise(setImmediate);
      const below = path === "" ? name.toString() : `${path}/${name.toString()}`;
      const excluded = rules.excludes(below);
      const isDirectory = (statat(fd, name).mode & k.S_IFMT) === k.S_IFDIR;
      if (!isDirectory) {
        if (excluded) unlinkat(fd, name);
        else left = true;
        continue;
      }
      const child = openat(fd, name, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
      let full: boolean;
      try {
        full = await walk(child, below);
      } finally {
        close(child);
      }
      if (excluded && !full) unlinkat(fd, name, k.AT_REMOVEDIR);
      else left = true;
    }
    return left;
  };
  const root = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  try {
    await walk(root, "");
  } finally {
    close(root);
  }
}
