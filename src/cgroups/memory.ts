import { conflict, invalid } from "../base/errors.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import { type Controller, INT64_MAX, integer } from "./controller.ts";
import type { CgroupDirectory } from "./directory.ts";

/** Kernel: cgroup-v1/memory.rst and cgroup-v2.rst, "Memory". Sizes in bytes; -1 is unlimited, 0 not set, as in runc. */
export const memory: Controller = {
  v1Name: "memory",
  v2Name: "memory",
  needed({ memory: m = {} }) {
    const sizes = [m.limit, m.reservation, m.swap].some((v) => (v ?? 0) !== 0);
    return sizes || m.swappiness !== undefined || m.disableOOMKiller === true || m.useHierarchy === true;
  },

  v1(directory, { memory: m = {} }, { fresh, warn }) {
    // Always so since Linux 5.11.
    if (m.useHierarchy && directory.number("memory.use_hierarchy") !== 1) directory.write("memory.use_hierarchy", 1);
    const { limit, swap } = limits(m);
    if (swap !== undefined && swap >= 0 && limit !== undefined && (limit > swap || limit < 0)) {
      throw invalid(`memory and swap limit ${swap} is below the memory limit ${limit}`);
    }
    writeLimits(directory, limit, swap, warn);
    if (m.reservation) directory.write("memory.soft_limit_in_bytes", size("reservation", m.reservation));
    if (m.swappiness !== undefined) {
      directory.write("memory.swappiness", integer("memory swappiness", m.swappiness, 0, 100));
    }
    if (m.disableOOMKiller === true || (m.disableOOMKiller === false && !fresh)) {
      directory.write("memory.oom_control", m.disableOOMKiller ? 1 : 0);
    }
  },

  v2(directory, { memory: m = {} }, { warn }) {
    const { limit, swap } = limits(m);
    if (m.checkBeforeUpdate) {
      const current = directory.number("memory.current") ?? 0;
      for (const value of [swap, limit]) {
        if (value !== undefined && value >= 0 && current > value)
          throw conflict(`memory limit ${value} is below the ${current} bytes in use`);
      }
    }
    if (swap !== undefined) {
      const value = swapAlone(swap, limit);
      if (directory.has("memory.swap.max")) directory.write("memory.swap.max", value);
      else if (value !== "max" && value !== "0") warn("memory swap limit", "the kernel accounts no swap");
    }
    if (limit !== undefined) directory.write("memory.max", limit < 0 ? "max" : size("limit", limit));
    if (m.reservation) {
      directory.write("memory.low", m.reservation < 0 ? "max" : size("reservation", m.reservation));
    }
    if (m.swappiness !== undefined) {
      integer("memory swappiness", m.swappiness, 0, 100);
      warn("memory swappiness", "cgroup v2 has none");
    }
    if (m.disableOOMKiller) warn("disabling the OOM killer", "cgroup v2 cannot");
  },
};

const size = (what: string, value: number) => integer(`memory ${what}`, value, -1, INT64_MAX);

/** The limit and the sum with swap; no limit means no limit on the sum either, unless one is given. */
function limits(m: NonNullable<Resources["memory"]>): { limit: number | undefined; swap: number | undefined } {
  if (m.limit !== undefined) size("limit", m.limit);
  if (m.swap !== undefined) size("and swap limit", m.swap);
  return { limit: m.limit || undefined, swap: m.swap || (m.limit === -1 ? -1 : undefined) };
}

/** memory.swap.max: cgroup2 limits swap alone, where OCI has the sum; of unlimited memory the sum is that of swap. */
export function swapAlone(swap: number, limit: number | undefined): string {
  if (swap < 0) return "max";
  if (limit === undefined) throw invalid(`memory and swap limit ${swap}: cgroup v2 needs a memory limit with it`);
  if (limit < 0) return String(swap);
  if (swap < limit) throw invalid(`memory and swap limit ${swap} is below the memory limit ${limit}`);
  return String(swap - limit);
}

const LIMIT_CAUSES = {
  EBUSY: "more is in use and could not be reclaimed",
  EINVAL: "the limit must not be above the limit of memory and swap",
};

function writeLimits(
  directory: CgroupDirectory,
  limit: number | undefined,
  swap: number | undefined,
  warn: (what: string, why: string) => void,
): void {
  const writeLimit = () => {
    if (limit !== undefined) directory.write("memory.limit_in_bytes", limit, LIMIT_CAUSES);
  };
  if (swap === undefined || !directory.has("memory.memsw.limit_in_bytes")) {
    writeLimit();
    if (swap !== undefined && swap >= 0) warn("memory swap limit", "the kernel accounts no swap (swapaccount=1)");
    return;
  }
  // At every moment limit <= memsw must hold, so the order depends on the present limit.
  const present = directory.number("memory.limit_in_bytes") ?? INT64_MAX;
  const swapFirst = swap < 0 || present <= swap;
  if (!swapFirst) writeLimit();
  directory.write("memory.memsw.limit_in_bytes", swap, LIMIT_CAUSES);
  if (swapFirst) writeLimit();
}
