import { readdirSync } from "node:fs";
import { codeOf } from "../base/errors.ts";
import { CgroupDirectory } from "./directory.ts";

/** Cgroups inside `path` that are looked through, at most. */
const MAX_DIRECTORIES = 10_000;

/**
 * Pids of the processes in the cgroup directory and all below it, as the engine's pid namespace numbers them; those it
 * does not know (0) left out. What vanishes meanwhile is skipped.
 */
export function processes(path: string): number[] {
  const found = new Set<number>();
  const queue = [path];
  for (let i = 0; i < queue.length && i < MAX_DIRECTORIES; i++) {
    const directory = queue[i]!;
    // A threaded cgroup has no cgroup.procs to read; its processes are listed in the domain above.
    for (const line of new CgroupDirectory(directory).tryRead("cgroup.procs")?.split("\n") ?? []) {
      const pid = Number(line);
      if (Number.isInteger(pid) && pid > 0) found.add(pid);
    }
    queue.push(...children(directory).map((name) => `${directory}/${name}`));
  }
  return [...found];
}

/** Moves the processes into another cgroup, until a round finds none that forked in between. */
export function moveAll(pids: () => number[], directory: CgroupDirectory): void {
  const moved = new Set<number>();
  for (let round = 0; round < 64; round++) {
    const fresh = pids().filter((pid) => !moved.has(pid));
    if (fresh.length === 0) return;
    for (const pid of fresh) {
      moved.add(pid);
      try {
        directory.write("cgroup.procs", pid);
      } catch (error) {
        if (codeOf(error) !== "ESRCH") throw error;
      }
    }
  }
}

/** Names of the cgroups directly inside; none where the directory is gone. */
export function children(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}
