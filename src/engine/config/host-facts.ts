import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname, release } from "node:os";
import { NATIVE_ABI } from "../../linux/call.ts";
import { inUserNamespace } from "../../linux/rights.ts";
import type { Abi } from "../../linux/syscall-numbers.ts";
import { availableCapabilities } from "../../security/capabilities.ts";
import { maskedPaths } from "../../security/paths.ts";
import { kernelVersion } from "../../security/seccomp/profile.ts";

/** What this machine can do, as far as a container's configuration depends on it. */
export interface HostFacts {
  kernel: { major: number; minor: number };
  abi: Abi;
  hostname: string;
  cgroup: "v1" | "v2" | "hybrid";
  /** Online CPUs and memory nodes as the kernel lists them: `0-3,6`. */
  cpus: string;
  mems: string;
  /** What the engine can give away, CAP_ names. */
  capabilities: readonly string[];
  /** Default masked paths of this machine. */
  maskedPaths: readonly string[];
  /** The engine's own hard limits by RLIMIT_ name; Infinity is RLIM_INFINITY. */
  hardLimits: Record<string, number>;
  /** The engine's own oom_score_adj. */
  oomScoreAdj: number;
  apparmor: boolean;
  selinux: boolean;
  seccomp: boolean;
  timeNamespace: boolean;
  /** The engine is in a user namespace that somebody made: group ids from 0 to this one are there; absent: all. */
  lastGid?: number;
  /** That namespace refuses setgroups(2). */
  noSetgroups?: boolean;
  /** The kernel can limit memory plus swap, weigh block I/O. */
  swapLimit: boolean;
  blkioWeight: boolean;
  /** The kernel can give a group processor time for real-time processes. */
  cpuRealtime: boolean;
}

/** Whether the engine may raise limits beyond its own (capabilities(7)). */
export const mayRaiseLimits = (facts: HostFacts) => facts.capabilities.includes("CAP_SYS_RESOURCE");

// Left column of /proc/PID/limits (proc(5)) to getrlimit(2).
const LIMITS: Record<string, string> = {
  "Max cpu time": "RLIMIT_CPU",
  "Max file size": "RLIMIT_FSIZE",
  "Max data size": "RLIMIT_DATA",
  "Max stack size": "RLIMIT_STACK",
  "Max core file size": "RLIMIT_CORE",
  "Max resident set": "RLIMIT_RSS",
  "Max processes": "RLIMIT_NPROC",
  "Max open files": "RLIMIT_NOFILE",
  "Max locked memory": "RLIMIT_MEMLOCK",
  "Max address space": "RLIMIT_AS",
  "Max file locks": "RLIMIT_LOCKS",
  "Max pending signals": "RLIMIT_SIGPENDING",
  "Max msgqueue size": "RLIMIT_MSGQUEUE",
  "Max nice priority": "RLIMIT_NICE",
  "Max realtime priority": "RLIMIT_RTPRIO",
  "Max realtime timeout": "RLIMIT_RTTIME",
};

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function hardLimits(): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const line of (text("/proc/self/limits") ?? "").split("\n").slice(1)) {
    const [, title, , hard] = /^(\S.*?)\s{2,}(\S+)\s+(\S+)/.exec(line) ?? [];
    const name = title === undefined ? undefined : LIMITS[title];
    if (name !== undefined && hard !== undefined) limits[name] = hard === "unlimited" ? Infinity : Number(hard);
  }
  return limits;
}

function cgroupMode(root: string): HostFacts["cgroup"] {
  if (existsSync(`${root}/cgroup.controllers`)) return "v2";
  return existsSync(`${root}/unified/cgroup.procs`) ? "hybrid" : "v1";
}

const anyBelow = (directory: string, file: string): boolean => {
  try {
    return readdirSync(directory).some((name) => existsSync(`${directory}/${name}/${file}`));
  } catch {
    return false;
  }
};

/** By the ranges in gid_map (user_namespaces(7)), as far as they are next to each other. */
function lastGid(map: string): number {
  const ranges = map.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  let next = 0;
  for (const [first = 0, , count = 0] of ranges.sort(([a = 0], [b = 0]) => a - b)) if (first === next) next += count;
  return Math.min(next - 1, MAX_GID);
}

/** net.ipv4.ping_group_range takes no more. */
export const MAX_GID = 0x7fff_ffff;

let known: HostFacts | undefined;

/** Looks at the machine once; later calls return the same object. */
export function hostFacts(): HostFacts {
  if (known) return known;
  const root = "/sys/fs/cgroup";
  const cgroup = cgroupMode(root);
  const status = text("/proc/self/status") ?? "";
  const v2 = cgroup === "v2";
  known = {
    kernel: kernelVersion(release()),
    abi: NATIVE_ABI,
    hostname: hostname(),
    cgroup,
    cpus: text("/sys/devices/system/cpu/online") ?? "0",
    mems: text("/sys/devices/system/node/online") ?? "0",
    capabilities: availableCapabilities(),
    maskedPaths: maskedPaths(),
    hardLimits: hardLimits(),
    oomScoreAdj: Number(text("/proc/self/oom_score_adj") ?? 0),
    apparmor: existsSync("/sys/kernel/security/apparmor/profiles"),
    selinux: existsSync("/sys/fs/selinux/enforce"),
    seccomp: /^Seccomp:/m.test(status),
    ...(inUserNamespace()
      ? { lastGid: lastGid(text("/proc/self/gid_map") ?? ""), noSetgroups: text("/proc/self/setgroups") === "deny" }
      : {}),
    timeNamespace: existsSync("/proc/self/ns/time"),
    swapLimit: v2 || existsSync(`${root}/memory/memory.memsw.limit_in_bytes`),
    cpuRealtime: !v2 && existsSync(`${root}/cpu/cpu.rt_runtime_us`),
    // No weight file is in the root group itself; io.cost is, where weights work without BFQ.
    blkioWeight: v2
      ? existsSync(`${root}/io.cost.qos`) || anyBelow(root, "io.bfq.weight")
      : anyBelow(`${root}/blkio`, "blkio.weight") || anyBelow(`${root}/blkio`, "blkio.bfq.weight"),
  };
  return known;
}
