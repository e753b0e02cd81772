import { existsSync } from "node:fs";
import { type Hierarchy, locate } from "./hierarchy.ts";

/** Which limits this machine can set, as the engine's information and warnings tell it (Engine API, SystemInfo). */
export interface LimitSupport {
  memory: boolean;
  swap: boolean;
  oomKillDisable: boolean;
  cpuShares: boolean;
  cpuQuota: boolean;
  cpuset: boolean;
  pids: boolean;
  io: boolean;
  hugetlb: boolean;
  devices: boolean;
}

/** Looks at the controllers and, where a file decides, at the hierarchy's top. */
export function limitSupport(hierarchy: Hierarchy): LimitSupport {
  const version = (v1: string, v2 = v1) => locate(hierarchy, { v1, v2 });
  const memory = version("memory");
  const cpu = version("cpu");
  const top = (file: string, where: typeof memory) => where?.version === 1 && existsSync(`${where.mountpoint}/${file}`);
  return {
    memory: memory !== undefined,
    // The top of v2 has no limits to look at: whether swap is accounted is the same question as whether it is built in.
    swap: memory?.version === 2 ? existsSync("/proc/swaps") : top("memory.memsw.limit_in_bytes", memory) === true,
    oomKillDisable: top("memory.oom_control", memory) === true,
    cpuShares: cpu !== undefined,
    cpuQuota: cpu?.version === 2 || top("cpu.cfs_quota_us", cpu) === true,
    cpuset: version("cpuset") !== undefined,
    pids: version("pids") !== undefined,
    io: version("blkio", "io") !== undefined,
    hugetlb: version("hugetlb") !== undefined,
    devices: hierarchy.unified !== undefined || hierarchy.controllers.has("devices"),
  };
}
