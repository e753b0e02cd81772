import { existsSync } from "node:fs";
import { join } from "node:path";

const CGROUP_ROOT = "/sys/fs/cgroup";

/** Below the container's cgroup mount: v2 is the mount itself, a hierarchy of v1 or hybrid a directory of its name. */
export function cgroupMounts(paths: readonly string[]): { name: string; path: string }[] {
  return paths.map((path) => {
    const [first = ""] = path.slice(CGROUP_ROOT.length + 1).split("/");
    const pure = paths.length === 1 && existsSync(join(CGROUP_ROOT, "cgroup.controllers"));
    return { name: pure ? "" : first, path };
  });
}
