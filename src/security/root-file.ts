import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, read, statat } from "../linux/file.ts";

const LIMIT = 1 << 20;

/**
 * Text of a regular file inside a root directory that may be hostile: symlinks, also absolute ones and `..`, stay
 * below `rootfd`, magic links are refused. Undefined when there is no such regular file; over 1 MiB is an
 * invalid-argument error. Never blocks and has no effect on devices and FIFOs, which are not opened. Bytes that are not
 * UTF-8 come as U+FFFD.
 */
export function readRootFile(rootfd: number, path: string): string | undefined {
  let pinned: number;
  try {
    pinned = openat2(rootfd, path, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return undefined;
    throw error;
  }
  try {
    if ((statat(pinned, "").mode & k.S_IFMT) !== k.S_IFREG) return undefined;
    // The descriptor fixes the file, so nobody can put a device in its place before it is opened for reading.
    const fd = openat(k.AT_FDCWD, `/proc/self/fd/${pinned}`, k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY);
    try {
      return readAll(fd, path);
    } finally {
      close(fd);
    }
  } finally {
    close(pinned);
  }
}

function readAll(fd: number, path: string): string {
  const data = Buffer.allocUnsafe(Math.min(statat(fd, "").size, LIMIT) + 1);
  let length = 0;
  for (;;) {
    const n = read(fd, data.subarray(length));
    length += n;
    if (n === 0) return data.toString("utf8", 0, length);
    // Either over the limit, or growing while it is read.
    if (length === data.length) throw invalid(`read ${path}: it is larger than ${data.length - 1} bytes`);
  }
}
