import { codeOf, invalid } from "../base/errors.ts";
import { type Controller, INT64_MAX, integer } from "./controller.ts";
import type { CgroupDirectory } from "./directory.ts";

/** Kernel: scheduler/sched-bwc.rst, cgroup-v2.rst "CPU". All times in microseconds; but for idle and burst, 0 is not set. */
export const cpu: Controller = {
  v1Name: "cpu",
  v2Name: "cpu",
  needed({ cpu: c = {} }) {
    const { shares, quota, period, realtimeRuntime, realtimePeriod, burst, idle } = c;
    const set = shares || quota || period || realtimeRuntime || realtimePeriod;
    return Boolean(set) || burst !== undefined || idle !== undefined;
  },

  v1(directory, { cpu: c = {} }) {
    const quota = !c.quota ? undefined : c.quota < 0 ? "-1" : time("quota", c.quota);
    const period = !c.period ? undefined : time("period", c.period);
    const burst = c.burst === undefined ? undefined : time("burst", c.burst);
    // An idle group takes no shares: leave idle first, enter it last.
    if (c.idle === 0) directory.write("cpu.idle", "0");
    if (c.shares) writeShares(directory, c.shares);
    if (c.idle !== undefined && c.idle !== 0) directory.write("cpu.idle", integer("cpu idle", c.idle, 0, 1));
    inSomeOrder([
      burst === undefined ? undefined : () => directory.write("cpu.cfs_burst_us", burst, { EINVAL: "above the quota" }),
      period === undefined ? undefined : () => directory.write("cpu.cfs_period_us", period, PERIOD_CAUSES),
      quota === undefined ? undefined : () => directory.write("cpu.cfs_quota_us", quota, QUOTA_CAUSES),
    ]);
    const { realtimeRuntime: runtime, realtimePeriod } = c;
    inSomeOrder([
      realtimePeriod
        ? () => directory.write("cpu.rt_period_us", time("realtime period", realtimePeriod), RT)
        : undefined,
      runtime
        ? () => directory.write("cpu.rt_runtime_us", integer("cpu realtime runtime", runtime, -1, INT64_MAX), RT)
        : undefined,
    ]);
  },

  v2(directory, { cpu: c = {} }, { warn }) {
    if (c.idle !== undefined) directory.write("cpu.idle", integer("cpu idle", c.idle, 0, 1));
    // An idle group has no weight to set.
    if (c.shares && c.idle !== 1) directory.write("cpu.weight", weightOfShares(c.shares));
    const burst = c.burst === undefined ? undefined : time("burst", c.burst);
    const limited = Boolean(c.quota || c.period);
    inSomeOrder([
      burst === undefined ? undefined : () => directory.write("cpu.max.burst", burst, { EINVAL: "above the quota" }),
      !limited
        ? undefined
        : () => {
            const [presentQuota, presentPeriod] = (directory.tryRead("cpu.max") ?? "").split(" ");
            const quota = !c.quota ? presentQuota || "max" : c.quota < 0 ? "max" : time("quota", c.quota);
            const period = c.period ? time("period", c.period) : (presentPeriod ?? "100000");
            directory.write("cpu.max", `${quota} ${period}`, QUOTA_CAUSES);
          },
    ]);
    if (c.realtimeRuntime || c.realtimePeriod) warn("cpu realtime limits", "cgroup v2 has none");
  },
};

const time = (what: string, value: number) => integer(`cpu ${what}`, value, 0, INT64_MAX);

const QUOTA_CAUSES = { EINVAL: "at least 1000 us, and not above the share of the cgroup above" };
const PERIOD_CAUSES = { EINVAL: "from 1000 to 1000000 us" };
const RT = { EINVAL: "not above what the cgroup above has", ENOENT: "the kernel lacks CONFIG_RT_GROUP_SCHED" };

/** The kernel takes any number and makes it one in its range, which is then not what was asked for. */
function writeShares(directory: CgroupDirectory, shares: number): void {
  directory.write("cpu.shares", integer("cpu shares", shares, 0, INT64_MAX));
  const taken = directory.number("cpu.shares") ?? shares;
  if (taken < shares) throw invalid(`cpu shares ${shares}: the maximum allowed cpu-shares is ${taken}`);
  if (taken > shares) throw invalid(`cpu shares ${shares}: the minimum allowed cpu-shares is ${taken}`);
}

/**
 * Quota, period and burst bound each other, so which write must come first depends on the present values: those that
 * fail with EINVAL are tried again after the others.
 */
function inSomeOrder(writes: ((() => void) | undefined)[]): void {
  let left = writes.filter((write) => write !== undefined);
  while (left.length > 0) {
    const failed: { write: () => void; error: unknown }[] = [];
    for (const write of left) {
      try {
        write();
      } catch (error) {
        if (codeOf(error) !== "EINVAL") throw error;
        failed.push({ write, error });
      }
    }
    if (failed.length === left.length) throw failed[0]!.error;
    left = failed.map(({ write }) => write);
  }
}

/**
 * v1 shares (2..262144, default 1024) as a v2 weight (1..10000, default 100): a curve through the three points
 * (min, min), (default, default), (max, max), quadratic in the logarithms. 0 shares is "not set" and no weight.
 */
export function weightOfShares(shares: number): number {
  integer("cpu shares", shares, 1, INT64_MAX);
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}
