import { lstatSync, realpathSync } from "node:fs";
import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { chmod, chownat, close, mkdirat, mknodat, openat, statat, utimensat } from "../linux/file.ts";
import { inUserNamespace } from "../linux/rights.ts";

/**
 * Hides a directory of the machine in the upper directory of an overlay on `/`: a whiteout in its place. No mount, so
 * nothing that a container with rights over its mounts could take away. What the container has put there itself stays.
 */
export function hideIn(upper: string, path: string): void {
  const names = realpathSync(path).split("/").filter(Boolean);
  const last = names.pop();
  // Another file system is not below the root's own, and so in no overlay on it.
  if (last === undefined || lstatSync(path).dev !== lstatSync("/").dev) return;
  const open = [openat(k.AT_FDCWD, upper, k.O_PATH | k.O_DIRECTORY)];
  try {
    const times: bigint[] = [];
    for (const [depth, name] of names.entries()) {
      const directory = copiedUp(open[depth]!, name, `/${names.slice(0, depth + 1).join("/")}`);
      // The container has something else there: the machine's is hidden already.
      if (!directory) return;
      open.push(directory.fd);
      times.push(directory.mtime);
    }
    try {
      mknodat(open.at(-1)!, last, k.S_IFCHR, 0);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      return;
    }
    for (const [i, mtime] of times.entries()) utimensat(open[i + 1]!, "", mtime, mtime);
  } finally {
    for (const fd of open) close(fd);
  }
}

/** A directory of the upper, made with the attributes of the one below, which it would change else. */
function copiedUp(parent: number, name: string, below: string): { fd: number; mtime: bigint } | undefined {
  const lower = openat(k.AT_FDCWD, below, k.O_PATH | k.O_DIRECTORY);
  const { mode, uid, gid, mtime } = statat(lower, "");
  close(lower);
  let made = true;
  try {
    mkdirat(parent, name, 0o700);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    made = false;
  }
  let fd: number;
  try {
    // The container may have changed its upper in any way.
    fd = openat(parent, name, k.O_PATH | k.O_DIRECTORY | k.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === "ENOTDIR" || codeOf(error) === "ELOOP") return undefined;
    throw error;
  }
  if (!made) return { fd, mtime: statat(fd, "").mtime };
  // Of what belongs to nobody in this user namespace the owner can be given to nobody.
  if (!inUserNamespace()) chownat(fd, "", uid, gid);
  chmod(fd, mode & 0o7777);
  return { fd, mtime };
}
