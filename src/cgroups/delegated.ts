import { accessSync, constants, readFileSync } from "node:fs";
import { CgroupDirectory } from "./directory.ts";
import { cgroupOf, type Hierarchy } from "./hierarchy.ts";
import { mkdir } from "./make.ts";

/** Where an engine itself goes in what is delegated to it: only a cgroup without processes passes controllers on. */
const OWN = "/engine";

/**
 * As much of the machine's hierarchy as the root of a user namespace may write: the cgroup2 directory that is delegated to
 * it (cgroup-v2.rst, "Delegation"), as if that were the tree's root; v1 never is. Its controllers are there if the engine
 * {@link settled} in it. Without delegation there is no place and no controller.
 */
export function delegatedHierarchy({ root, mode, unified: top }: Hierarchy): Hierarchy {
  const place = top === undefined ? undefined : delegatedPlace(top);
  if (!place) return { mode, root, controllers: new Map(), delegated: true };
  const { unified, settled } = place;
  const available = settled ? new CgroupDirectory(unified).read("cgroup.controllers").split(/\s+/).filter(Boolean) : [];
  return { mode, root, controllers: new Map(available.map((name) => [name, unified])), unified, delegated: true };
}

/**
 * Moves this process one down in the cgroup that is delegated to it, so that limits are possible beside it. Not where
 * others are in it: then containers have cgroups, and no limits.
 */
export function settle({ unified: top }: Hierarchy): void {
  const place = top === undefined ? undefined : delegatedPlace(top);
  if (!place || place.settled) return;
  const here = new CgroupDirectory(place.unified).tryRead("cgroup.procs")?.split("\n").filter(Boolean) ?? [];
  if (here.length !== 1 || here[0] !== String(process.pid)) return;
  mkdir(place.unified + OWN, []);
  new CgroupDirectory(place.unified + OWN).write("cgroup.procs", process.pid);
}

function delegatedPlace(top: string): { unified: string; settled: boolean } | undefined {
  const own = cgroupOf(readFileSync("/proc/self/cgroup", "utf8")).replace(/\/+$/, "");
  // Outside of what the cgroup namespace shows.
  if (own.includes("/..")) return undefined;
  const above = own.endsWith(OWN) ? top + own.slice(0, -OWN.length) : undefined;
  if (above !== undefined && isDelegated(above)) return { unified: above, settled: true };
  return isDelegated(top + own) ? { unified: top + own, settled: false } : undefined;
}

function isDelegated(directory: string): boolean {
  try {
    for (const file of ["", "/cgroup.procs", "/cgroup.subtree_control"]) accessSync(directory + file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
