import { conflict, invalid } from "../base/errors.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import { type Controller, INT64_MAX, integer } from "./controller.ts";
import type { CgroupDirectory } from "./directory.ts";

/** Kernel: cgroup-v1/memory.rst and cgroup-v2.rst, "Memory". Sizes in bytes; -1 is unlimited. */
export const memory: Controller = {
  v1Name: "memory",
  v2Name: "memory",
  needed({ memory: m }) {
    return (
      m !== undefined &&
      Object.entries(m).some(([name, v]) => v !== undefined && v !== false && name !== "checkBeforeUpdate")
    );
  },

  v1(directory, { memory: m = {} }, { fresh, warn }) {
    const { limit, swap } = limits(m);
    writeLimits(directory, limit, swap, warn);
    if (m.reservation !== undefined) directory.write("memory.soft_limit_in_bytes", size("reservation", m.reservation));
    if (m.swappiness !== undefined) {
      directory.write("memory.swappiness", integer("memory swappiness", m.swappiness, 0, 100));
    }
    if (m.disableOOMKiller === true || (m.disableOOMKiller === false && !fresh)) {
      directory.write("memory.oom_control", m.disableOOMKiller ? 1 : 0);
    }
  },

  v2(directory, { memory: m = {} }, { warn }) {
    const { limit, swap } = limits(m);
    if (m.checkBeforeUpdate && limit !== undefined && limit >= 0) {
      const current = directory.number("memory.current") ?? 0;
      if (current > limit) throw conflict(`memory limit ${limit} is below the ${current} bytes in use`);
    }
    // cgroup2 limits swap alone, so a sum without a limit cannot be split.
    if (swap !== undefined) {
      if (swap >= 0 && (limit === undefined || limit < 0)) {
        throw invalid(`memory and swap limit ${swap}: cgroup v2 needs a memory limit with it`);
      }
      const value = swap < 0 ? "max" : String(swap - limit!);
      const effective = value === "max" || value === "0";
      if (directory.has("memory.swap.max")) directory.write("memory.swap.max", value);
      else if (!effective) warn("memory swap limit discarded: the kernel accounts no swap");
    }
    if (limit !== undefined) directory.write("memory.max", limit < 0 ? "max" : size("limit", limit));
    if (m.reservation !== undefined) {
      directory.write("memory.low", m.reservation < 0 ? "max" : size("reservation", m.reservation));
    }
    if (m.swappiness !== undefined) {
      integer("memory swappiness", m.swappiness, 0, 100);
      warn("memory swappiness discarded: cgroup v2 has none");
    }
    if (m.disableOOMKiller) warn("disabling the OOM killer discarded: cgroup v2 cannot");
  },
};

const size = (what: string, value: number) => integer(`memory ${what}`, value, -1, INT64_MAX);

/** The limit and the sum with swap; no limit means no limit on the sum either, unless one is given. */
function limits(m: NonNullable<Resources["memory"]>): { limit: number | undefined; swap: number | undefined } {
  if (m.limit !== undefined) size("limit", m.limit);
  if (m.swap !== undefined) size("and swap limit", m.swap);
  const swap = m.swap ?? (m.limit === -1 ? -1 : undefined);
  if (swap !== undefined && swap >= 0 && m.limit !== undefined && (m.limit > swap || m.limit < 0)) {
    throw invalid(`memory and swap limit ${swap} is below the memory limit ${m.limit}`);
  }
  return { limit: m.limit, swap };
}

const LIMIT_CAUSES = {
  EBUSY: "more is in use and could not be reclaimed",
  EINVAL: "the limit must not be above the limit of memory and swap",
};

function writeLimits(
  directory: CgroupDirectory,
  limit: number | undefined,
  swap: number | undefined,
  warn: (message: string) => void,
): void {
  const writeLimit = () => {
    if (limit !== undefined) directory.write("memory.limit_in_bytes", limit, LIMIT_CAUSES);
  };
  if (swap === undefined || !directory.has("memory.memsw.limit_in_bytes")) {
    writeLimit();
    if (swap !== undefined && swap >= 0)
      warn("memory swap limit discarded: the kernel accounts no swap (swapaccount=1)");
    return;
  }
  // At every moment limit <= memsw must hold, so the order depends on the present limit.
  const present = directory.number("memory.limit_in_bytes") ?? INT64_MAX;
  const swapFirst = swap < 0 || present <= swap;
  if (!swapFirst) writeLimit();
  directory.write("memory.memsw.limit_in_bytes", swap, LIMIT_CAUSES);
  if (swapFirst) writeLimit();
}
