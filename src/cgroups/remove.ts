import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, unavailable } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str } from "../linux/ffi.ts";
import { close, openat, readdir, unlinkat } from "../linux/file.ts";
import { CgroupDirectory } from "./directory.ts";
import { processes } from "./processes.ts";

const ENOENT = -2;
/** Directories removed before the event loop gets its turn. */
const BATCH = 64;

/**
 * Kills what is in the cgroup directories and removes them with the cgroups that the container made inside. Waits for
 * dying processes by timers, up to `timeout` ms; then an unavailable error names what holds. Directories that are gone
 * are fine.
 */
export async function removeDirectories(paths: readonly string[], timeout: number): Promise<void> {
  const end = performance.now() + timeout;
  let left = paths.filter((path) => rmdir(path) === "busy");
  for (let pause = 1; left.length > 0; pause = Math.min(pause * 2, 50)) {
    for (const path of left) kill(path);
    const busy: string[] = [];
    for (const path of left) if (!(await removeTree(path))) busy.push(path);
    left = busy;
    if (left.length === 0) return;
    if (performance.now() > end) throw stillBusy(left[0]!, timeout);
    await sleep(pause);
  }
}

function stillBusy(path: string, timeout: number): Error {
  const pids = processes(path);
  const who = pids.length > 0 ? `processes ${pids.slice(0, 10).join(", ")} do not end` : "something else uses it";
  return unavailable(`remove cgroup ${path}: busy after ${timeout} ms, ${who}`);
}

function rmdir(path: string): "gone" | "busy" {
  const result = scratch(() => trySys("unlinkat", k.AT_FDCWD, str(path), k.AT_REMOVEDIR));
  // Only a plain file tree, as in tests, says ENOTEMPTY (-39).
  return result === 0 || result === ENOENT ? "gone" : "busy";
}

/** SIGKILL to everything inside: cgroup.kill where there is one (Linux 5.14), else one by one. */
function kill(path: string): void {
  const directory = new CgroupDirectory(path);
  try {
    directory.write("cgroup.kill", 1);
    return;
  } catch (error) {
    if (codeOf(error) !== "ENOENT") return;
  }
  killEach(path);
}

/** Signals each process; frozen ones must be thawed to die. */
export function killEach(path: string): void {
  const signalled = new Set<number>();
  // A fork may have escaped the list, so until no new process is seen.
  for (let round = 0; round < 64; round++) {
    const fresh = processes(path).filter((pid) => !signalled.has(pid));
    if (fresh.length === 0) return;
    for (const pid of fresh) {
      signalled.add(pid);
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if (codeOf(error) !== "ESRCH") throw error;
      }
    }
  }
}

/**
 * rmdir, depth first. The tree belongs to the container and may be of any depth, so it is walked by one descriptor,
 * never by path. False: something is still in use.
 */
async function removeTree(path: string): Promise<boolean> {
  if (rmdir(path) === "gone") return true;
  let fd: number;
  try {
    fd = openat(k.AT_FDCWD, path, DIRECTORY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return true;
    throw error;
  }
  const names: Buffer[] = [];
  try {
    for (let steps = 1; ; steps++) {
      if (steps % BATCH === 0) await sleep(0);
      const child = firstChild(fd);
      if (child !== undefined) {
        const next = tryOpen(fd, child);
        if (next === undefined) continue;
        close(fd);
        fd = next;
        names.push(child);
        continue;
      }
      const name = names.pop();
      if (name === undefined) break;
      const parent = openat(fd, "..", DIRECTORY);
      close(fd);
      fd = parent;
      try {
        unlinkat(fd, name, k.AT_REMOVEDIR);
      } catch (error) {
        if (codeOf(error) === "ENOENT") continue;
        if (codeOf(error) === "EBUSY") return false;
        throw error;
      }
    }
  } finally {
    close(fd);
  }
  return rmdir(path) === "gone";
}

const DIRECTORY = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW;

function tryOpen(fd: number, name: Buffer): number | undefined {
  try {
    return openat(fd, name, DIRECTORY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Name of some cgroup inside the open one. */
function firstChild(fd: number): Buffer | undefined {
  trySys("lseek", fd, 0, 0);
  for (const { name, type } of readdir(fd)) if (type === k.S_IFDIR >> 12) return name;
  return undefined;
}
