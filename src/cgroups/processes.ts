import { readdirSync } from "node:fs";
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
