import { unavailable } from "../base/errors.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import type { Controller } from "./controller.ts";
import { cpu } from "./cpu.ts";
import { cpuset } from "./cpuset.ts";
import { type Hierarchy, locate } from "./hierarchy.ts";
import { hugetlb } from "./hugetlb.ts";
import { io } from "./io.ts";
import { memory } from "./memory.ts";
import { netCls, netPrio } from "./network.ts";
import { pids } from "./pids.ts";
import { rdma } from "./rdma.ts";
import { missingController, unifiedControllers } from "./unified.ts";

/** All that write limits; devices and the freezer work otherwise. */
export const CONTROLLERS: readonly Controller[] = [memory, cpu, cpuset, pids, io, hugetlb, netCls, netPrio, rdma];

/** What can be accounted, and the v1 controller that does it; the v2 one has the same name. */
export const ACCOUNTING = { memory: "memory", cpu: "cpuacct", pids: "pids", io: "blkio" } as const;
export type Accounting = keyof typeof ACCOUNTING;

/** Where the parts of the resources go on this machine. */
export interface Placement {
  writers: { controller: Controller; version: 1 | 2; mountpoint: string }[];
  /** v2 controllers that must be enabled. */
  required: Set<string>;
  /** Controllers without which limits are discarded. */
  missing: string[];
}

/** Places the resources; a controller that the machine lacks is an unavailable error. Touches nothing. */
export function place(hierarchy: Hierarchy, resources: Resources): Placement {
  const placement: Placement = { writers: [], required: new Set(), missing: [] };
  for (const controller of CONTROLLERS) {
    if (!controller.needed(resources)) continue;
    const { v1Name, v2Name } = controller;
    const found = locate(hierarchy, { ...(v1Name && { v1: v1Name }), ...(v2Name && { v2: v2Name }) });
    if (found === undefined && hierarchy.delegated) {
      placement.missing.push((v2Name ?? v1Name)!);
      continue;
    }
    if (found === undefined) {
      if (v2Name === undefined && hierarchy.mode === "v2") {
        throw unavailable(`the cgroup controller ${v1Name} exists only in cgroup v1, and this machine has v2`);
      }
      throw missingController((hierarchy.mode === "v2" ? v2Name : v1Name)!, hierarchy);
    }
    placement.writers.push({ controller, ...found });
    if (found.version === 2) placement.required.add(v2Name!);
  }
  const unified = resources.unified ?? {};
  const names = unifiedControllers(unified);
  if (Object.keys(unified).length > 0 && hierarchy.unified === undefined) {
    throw unavailable("unified resources need cgroup v2, which is not mounted");
  }
  for (const name of names) {
    const at = hierarchy.controllers.get(name);
    if (at !== undefined && at !== hierarchy.unified) {
      throw unavailable(`unified resources: the cgroup controller ${name} is in cgroup v1 at ${at}, not in v2`);
    }
    if (at === undefined) throw missingController(name, hierarchy);
    placement.required.add(name);
  }
  return placement;
}
