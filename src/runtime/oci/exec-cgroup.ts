import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { invalid } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import { cgroupOf } from "../../cgroups/hierarchy.ts";
import { openCgroup } from "./cgroup.ts";
import type { State } from "./state.ts";

/** Directory for CLONE_INTO_CGROUP, and the v1 files to join by. */
export interface Joins {
  unified: string | undefined;
  joinFiles: readonly string[];
}

/**
 * Where a process of `exec` goes: the container's cgroup, or below it by `--cgroup [CONTROLLER,...:]PATH`. A path that
 * is not below or not there, or a controller that is unknown or named twice, is an invalid-argument error.
 */
export function execCgroup(cgroup: Cgroup | undefined, state: State, given: readonly string[]): Joins {
  const paths = subPaths(given);
  if (!cgroup) {
    if (paths.size > 0) throw invalid("--cgroup: the container has no cgroup");
    return { unified: undefined, joinFiles: [] };
  }
  const everywhere = paths.get("");
  const { unifiedDirectory } = cgroup;
  if (everywhere === undefined && paths.size === 0) {
    // A cgroup2 that has passed its controllers on takes no processes any more (EBUSY): then to the first one's.
    const split = unifiedDirectory !== undefined && unifiedDirectory.tryRead("cgroup.subtree_control") !== "";
    return { unified: (split && ownOf(state)) || cgroup.unifiedDir, joinFiles: cgroup.joinFiles };
  }
  const chosen = new Map<string, string>();
  for (const [controller, path] of paths) {
    if (controller === "") continue;
    const found = cgroup.directoryOf({ v1: controller, v2: controller });
    if (!found) throw invalid(`--cgroup: the container is in no cgroup of a controller ${controller}`);
    chosen.set(found.directory.path, below(found.directory.path, path));
  }
  const place = (directory: string) => chosen.get(directory) ?? below(directory, everywhere ?? "");
  const unified = cgroup.unifiedDir;
  return {
    unified: unified && place(unified),
    joinFiles: cgroup
      .paths()
      .filter((path) => path !== unified)
      .map((path) => `${place(path)}/tasks`),
  };
}

function subPaths(given: readonly string[]): Map<string, string> {
  const paths = new Map<string, string>();
  for (const argument of given) {
    const parts = argument.split(":");
    if (parts.length > 2) throw invalid(`invalid --cgroup argument: ${argument}`);
    const [first = "", path] = parts;
    if (path === undefined) {
      if (given.length > 1) throw invalid(`invalid --cgroup argument: ${argument} (missing <controller>: prefix)`);
      paths.set("", first);
      continue;
    }
    for (const controller of first.split(",")) {
      if (paths.has(controller)) {
        throw invalid(`invalid --cgroup argument(s): controller ${controller} specified multiple times`);
      }
      paths.set(controller, path);
    }
  }
  return paths;
}

function below(directory: string, path: string): string {
  const found = posix.join(directory, path);
  if (found !== directory && !found.startsWith(`${directory}/`)) {
    throw invalid(`--cgroup: ${path} is not a sub cgroup path`);
  }
  const clean = found.replace(/\/+$/, "");
  if (!existsSync(clean)) throw invalid(`--cgroup: ${path}: there is no cgroup ${clean}`);
  return clean;
}

/** The cgroup2 directory of the container's first process, if it is below the container's. */
function ownOf(state: State): string | undefined {
  let path: string;
  try {
    path = cgroupOf(readFileSync(`/proc/${state.pid}/cgroup`, "utf8"));
  } catch {
    return undefined;
  }
  return path.startsWith(`${state.cgroup}/`) ? openCgroup(path)?.unifiedDir : undefined;
}
