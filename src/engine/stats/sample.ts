import type { CgroupStats } from "../../cgroups/stats.ts";
import { readText } from "../../linux/file.ts";
import { nowNanoseconds } from "../clock.ts";
import { namespaceModes } from "../config/modes.ts";
import type { Container } from "../container.ts";
import { type Context, openCgroup } from "../context.ts";

/** Counters of one interface. */
export interface NetworkCounters {
  rx_bytes: number;
  rx_packets: number;
  rx_errors: number;
  rx_dropped: number;
  tx_bytes: number;
  tx_packets: number;
  tx_errors: number;
  tx_dropped: number;
}

/** What a running container has used at one moment. */
export interface Sample {
  /** Nanoseconds since the epoch. */
  at: bigint;
  usage: CgroupStats;
  host: HostCpu;
  /** By name inside of the container; absent where it has the host's. */
  networks?: Record<string, NetworkCounters>;
}

export interface HostCpu {
  /** Nanoseconds of all processors together, idle ones too. */
  total: number;
  online: number;
}

/** Looks at the kernel now; undefined for a container that does not run. */
export function readSample(ctx: Context, container: Container): Sample | undefined {
  const cgroup = container.isRunning ? openCgroup(ctx, container) : undefined;
  if (!cgroup) return undefined;
  const usage = cgroup.stats();
  // On a hybrid machine a container without limits is in no v1 group, and the v2 one does not account memory.
  usage.memory ??= memoryOf(cgroup.pids(), ctx.hierarchy.mode === "v2" ? 2 : 1);
  const { pid } = container.state;
  const isOnHost = namespaceModes(container.record.host, ctx.hierarchy.mode).network.kind === "host";
  const networks = isOnHost ? undefined : parseNetDev(readText(`/proc/${pid}/net/dev`) ?? "");
  return { at: nowNanoseconds(), usage, host: hostCpu(), ...(networks ? { networks } : {}) };
}

const PAGE = 4096;

/** The processes' own pages (proc_pid_statm(5)): resident ones that are not shared with a file or each other. */
function memoryOf(pids: readonly number[], version: 1 | 2): NonNullable<CgroupStats["memory"]> {
  let pages = 0;
  for (const pid of pids) {
    const [, resident = 0, shared = 0] = (readText(`/proc/${pid}/statm`) ?? "").split(" ").map(Number);
    pages += Math.max(0, resident - shared);
  }
  return { version, current: pages * PAGE, detail: {} };
}

// USER_HZ is 100.
const TICK = 10_000_000;
/** Containers that are looked at together share one reading. */
const FRESH_MS = 20;
let last: { at: number; cpu: HostCpu } | undefined;

function hostCpu(): HostCpu {
  const now = performance.now();
  if (last && now - last.at < FRESH_MS) return last.cpu;
  const cpu = parseHostCpu(readText("/proc/stat") ?? "");
  last = { at: now, cpu };
  return cpu;
}

/** The text of /proc/stat (proc_stat(5)). Guests' time is in user and nice already. */
export function parseHostCpu(text: string): HostCpu {
  const COUNTED = 7;
  const [, ...ticks] = /^cpu +.*$/m.exec(text)?.[0].split(/ +/).map(Number) ?? [];
  const total = ticks.slice(0, COUNTED).reduce((sum, one) => sum + one, 0) * TICK;
  return { total, online: text.match(/^cpu\d+ /gm)?.length ?? 1 };
}

/** The text of /proc/<pid>/net/dev, without the loopback. */
export function parseNetDev(text: string): Record<string, NetworkCounters> {
  const networks: Record<string, NetworkCounters> = {};
  for (const line of text.split("\n")) {
    const [, name, rest] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || name === "lo") continue;
    const figures = rest!.trim().split(/\s+/).map(Number);
    const at = (index: number) => figures[index] ?? 0;
    networks[name] = {
      ...{ rx_bytes: at(0), rx_packets: at(1), rx_errors: at(2), rx_dropped: at(3) },
      ...{ tx_bytes: at(8), tx_packets: at(9), tx_errors: at(10), tx_dropped: at(11) },
    };
  }
  return networks;
}
