import { readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../base/errors.ts";
import { Cgroup } from "../../cgroups/cgroup.ts";
import type { Hierarchy } from "../../cgroups/hierarchy.ts";

/** Ends what steps of an earlier engine have left running below `path`, and removes the cgroups. */
export async function endSteps(hierarchy: Hierarchy, path: string): Promise<void> {
  const ids = new Set<string>();
  for (const directory of directories(hierarchy, path)) {
    for (const { name } of readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
      ids.add(name);
    }
  }
  for (const id of ids) {
    const cgroup = Cgroup.open(hierarchy, join(path, id));
    cgroup.killAll();
    await cgroup.remove();
  }
  removeCgroup(hierarchy, path);
}

/** Removes an empty cgroup; one that is not empty, or not there, stays as it is. */
export function removeCgroup(hierarchy: Hierarchy, path: string): void {
  for (const directory of directories(hierarchy, path)) {
    try {
      rmdirSync(directory);
    } catch (error) {
      if (!["EBUSY", "ENOTEMPTY", "ENOENT"].includes(codeOf(error) ?? "")) throw error;
    }
  }
}

function directories(hierarchy: Hierarchy, path: string): string[] {
  try {
    return Cgroup.open(hierarchy, path).paths();
  } catch (error) {
    if (error instanceof Error && "kind" in error && error.kind === "notFound") return [];
    throw error;
  }
}
