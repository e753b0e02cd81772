import { posix } from "node:path";
import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat2, readlinkat, type Stat, statat } from "../linux/file.ts";
import type { PathStat } from "../spec/docker-api.ts";

/** Symlinks lead on inside the root, and those of the kernel nowhere: whoever turns them is inside, too. */
export const IN_ROOT = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;

/** Of the file that `path` (see {@link file://./path.ts}) names below the directory `root`. Errors are SysError. */
export function pathStat(root: number, path: string): { stat: Stat; shown: PathStat } {
  const fd = openat2(root, path, k.O_PATH | k.O_NOFOLLOW, 0, IN_ROOT);
  try {
    const stat = statat(fd, "");
    const link = (stat.mode & k.S_IFMT) === k.S_IFLNK;
    return {
      stat,
      shown: {
        name: posix.basename(path) || "/",
        size: stat.size,
        mode: goFileMode(stat.mode),
        mtime: rfc3339(stat.mtime),
        linkTarget: link ? targetOf(root, path) : "",
      },
    };
  } finally {
    close(fd);
  }
}

/** Go's io/fs.FileMode: permissions, and what is above them in places of its own. */
export const GO_MODE = {
  directory: 2 ** 31,
  symlink: 2 ** 27,
  device: 2 ** 26,
  fifo: 2 ** 25,
  socket: 2 ** 24,
} as const;
const GO_SETUID = 2 ** 23;
const GO_SETGID = 2 ** 22;
const GO_CHAR = 2 ** 21;
const GO_STICKY = 2 ** 20;

const GO_TYPES = new Map<number, number>([
  [k.S_IFDIR, GO_MODE.directory],
  [k.S_IFLNK, GO_MODE.symlink],
  [k.S_IFBLK, GO_MODE.device],
  [k.S_IFCHR, GO_MODE.device + GO_CHAR],
  [k.S_IFIFO, GO_MODE.fifo],
  [k.S_IFSOCK, GO_MODE.socket],
]);

export function goFileMode(mode: number): number {
  return (
    (GO_TYPES.get(mode & k.S_IFMT) ?? 0) +
    (mode & 0o777) +
    (mode & 0o4000 ? GO_SETUID : 0) +
    (mode & 0o2000 ? GO_SETGID : 0) +
    (mode & 0o1000 ? GO_STICKY : 0)
  );
}

function rfc3339(time: bigint): string {
  const fraction = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = (time - fraction) / 1_000_000_000n;
  const digits = fraction.toString().padStart(9, "0").replace(/0+$/, "");
  // What Date cannot say (a file system takes any 64 bits) is docker's zero time.
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime()) || date.getTime() < 0) return "0001-01-01T00:00:00Z";
  return `${date.toISOString().slice(0, 19)}${digits && `.${digits}`}Z`;
}

/** As path_resolution(7). */
const MAX_LINKS = 40;

/** Where a path leads with all its symlinks followed; what is not there stays as it stands. Text only: it grants nothing. */
function targetOf(root: number, path: string): string {
  let rest = path.split("/").filter(Boolean);
  let at: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const [name = "", ...after] = rest;
    rest = after;
    if (name === ".") continue;
    if (name === "..") {
      at.pop();
      continue;
    }
    const target = linkAt(root, [...at, name].join("/"));
    if (target === undefined) {
      at.push(name);
      continue;
    }
    if (++links > MAX_LINKS) break;
    if (target.startsWith("/")) at = [];
    rest = [...target.split("/").filter(Boolean), ...rest];
  }
  return `/${[...at, ...rest].join("/")}`;
}

function linkAt(root: number, path: string): string | undefined {
  let fd: number;
  try {
    fd = openat2(root, path, k.O_PATH | k.O_NOFOLLOW, 0, IN_ROOT);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
  try {
    if ((statat(fd, "").mode & k.S_IFMT) !== k.S_IFLNK) return undefined;
    return readlinkat(fd, "").toString();
  } finally {
    close(fd);
  }
}
