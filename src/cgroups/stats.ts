import type { CgroupDirectory } from "./directory.ts";

/** What a cgroup has used. A part that no hierarchy of the cgroup accounts is undefined; sizes in bytes, times in ns. */
export interface CgroupStats {
  memory?: MemoryStats;
  cpu?: CpuStats;
  pids?: { current: number; limit?: number };
  /** By block device, since the start. */
  io?: IoStats[];
}

export interface MemoryStats {
  version: 1 | 2;
  current: number;
  /** Absent: unlimited. */
  limit?: number;
  peak?: number;
  /** v1: memory and swap; v2: swap alone. */
  swap?: number;
  /** How often the limit was hit (v1 memory.failcnt, v2 `max` of memory.events). */
  limitHits?: number;
  oomKills?: number;
  /** memory.stat as it is. */
  detail: Record<string, number>;
}

export interface CpuStats {
  total: number;
  user: number;
  kernel: number;
  /** By processor; only v1 has it. */
  perCpu?: number[];
  throttling?: { periods: number; throttledPeriods: number; throttledTime: number };
}

export interface IoStats {
  major: number;
  minor: number;
  readBytes: number;
  writeBytes: number;
  readOperations: number;
  writeOperations: number;
}

/** What each v1 controller accounts, else what cgroup2 does. */
export function readStats(
  v1: (controller: string) => CgroupDirectory | undefined,
  unified: CgroupDirectory | undefined,
): CgroupStats {
  const from = <T>(name: string, old: (d: CgroupDirectory) => T, v2: (d: CgroupDirectory) => T): T | undefined => {
    const directory = v1(name);
    return (directory && old(directory)) ?? (unified && v2(unified));
  };
  const cpu = from("cpuacct", cpuV1, cpuV2);
  const limited = v1("cpu");
  const throttling = limited && throttlingV1(limited);
  return present<CgroupStats>({
    memory: from("memory", memoryV1, memoryV2),
    cpu: cpu && throttling ? { ...cpu, throttling } : cpu,
    pids: from("pids", pidsStats, (d) => pidsStats(d) ?? threads(d)),
    io: from("blkio", ioV1, ioV2),
  });
}

/** CPU time alone, in ns: one file. */
export function cpuTime(
  v1: (controller: string) => CgroupDirectory | undefined,
  unified: CgroupDirectory | undefined,
): number | undefined {
  const old = v1("cpuacct")?.number("cpuacct.usage");
  if (old !== undefined) return old;
  const used = unified?.table("cpu.stat").usage_usec;
  return used === undefined ? undefined : used * 1000;
}

/** v1 writes "no limit" as the largest multiple of the page size. */
const V1_UNLIMITED = 2 ** 62;

function present<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) as T;
}

function memoryV1(directory: CgroupDirectory): MemoryStats | undefined {
  const current = directory.number("memory.usage_in_bytes");
  if (current === undefined) return undefined;
  const limit = directory.number("memory.limit_in_bytes");
  return present<MemoryStats>({
    version: 1,
    current,
    limit: limit !== undefined && limit < V1_UNLIMITED ? limit : undefined,
    peak: directory.number("memory.max_usage_in_bytes"),
    swap: directory.number("memory.memsw.usage_in_bytes"),
    limitHits: directory.number("memory.failcnt"),
    oomKills: directory.table("memory.oom_control").oom_kill,
    detail: directory.table("memory.stat"),
  });
}

function memoryV2(directory: CgroupDirectory): MemoryStats | undefined {
  const current = directory.number("memory.current");
  if (current === undefined) return undefined;
  const events = directory.table("memory.events");
  return present<MemoryStats>({
    version: 2,
    current,
    limit: directory.number("memory.max"),
    peak: directory.number("memory.peak"),
    swap: directory.number("memory.swap.current"),
    limitHits: events.max,
    oomKills: events.oom_kill,
    detail: directory.table("memory.stat"),
  });
}

/** cgroup2 accounts processor time even without the cpu controller. */
function cpuV2(directory: CgroupDirectory): CpuStats | undefined {
  const stat = directory.table("cpu.stat");
  if (stat.usage_usec === undefined) return undefined;
  return present<CpuStats>({
    total: stat.usage_usec * 1000,
    user: (stat.user_usec ?? 0) * 1000,
    kernel: (stat.system_usec ?? 0) * 1000,
    perCpu: undefined,
    throttling: throttling(stat, (stat.throttled_usec ?? 0) * 1000),
  });
}

function cpuV1(directory: CgroupDirectory): CpuStats | undefined {
  const total = directory.number("cpuacct.usage");
  if (total === undefined) return undefined;
  const ticks = directory.table("cpuacct.stat");
  const TICK = 10_000_000; // USER_HZ is 100
  return present<CpuStats>({
    total,
    user: directory.number("cpuacct.usage_user") ?? (ticks.user ?? 0) * TICK,
    kernel: directory.number("cpuacct.usage_sys") ?? (ticks.system ?? 0) * TICK,
    perCpu: directory.tryRead("cpuacct.usage_percpu")?.split(" ").map(Number),
    throttling: undefined,
  });
}

/** Of a v1 cpu directory. */
function throttlingV1(directory: CgroupDirectory): CpuStats["throttling"] {
  const stat = directory.table("cpu.stat");
  return throttling(stat, stat.throttled_time ?? 0);
}

function throttling(stat: Record<string, number>, throttledTime: number): CpuStats["throttling"] {
  if (stat.nr_periods === undefined) return undefined;
  return { periods: stat.nr_periods, throttledPeriods: stat.nr_throttled ?? 0, throttledTime };
}

/** The files have the same names in v1 and v2. */
function pidsStats(directory: CgroupDirectory): CgroupStats["pids"] {
  const current = directory.number("pids.current");
  if (current === undefined) return undefined;
  const limit = directory.number("pids.max");
  return limit === undefined ? { current } : { current, limit };
}

/** Every process counts its threads in cgroup2, even without the pids controller. */
function threads(directory: CgroupDirectory): CgroupStats["pids"] {
  const text = directory.tryRead("cgroup.threads");
  return text === undefined ? undefined : { current: text === "" ? 0 : text.split("\n").length };
}

function ioV2(directory: CgroupDirectory): IoStats[] | undefined {
  const text = directory.tryRead("io.stat");
  if (text === undefined) return undefined;
  const found: IoStats[] = [];
  for (const line of text.split("\n")) {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (!match) continue;
    const values = new Map(match[3]!.split(" ").map((pair) => pair.split("=") as [string, string]));
    const value = (key: string) => Number(values.get(key) ?? 0);
    found.push({
      major: Number(match[1]),
      minor: Number(match[2]),
      readBytes: value("rbytes"),
      writeBytes: value("wbytes"),
      readOperations: value("rios"),
      writeOperations: value("wios"),
    });
  }
  return found;
}

function ioV1(directory: CgroupDirectory): IoStats[] | undefined {
  const prefix = "blkio.throttle";
  if (!directory.has(`${prefix}.io_service_bytes_recursive`)) return undefined;
  const found = new Map<string, IoStats>();
  const collect = (file: string, read: "readBytes" | "readOperations", write: "writeBytes" | "writeOperations") => {
    for (const line of directory.tryRead(file)?.split("\n") ?? []) {
      const match = /^(\d+):(\d+) (Read|Write) (\d+)$/.exec(line);
      if (!match) continue;
      const key = `${match[1]}:${match[2]}`;
      const entry = found.get(key) ?? {
        major: Number(match[1]),
        minor: Number(match[2]),
        readBytes: 0,
        writeBytes: 0,
        readOperations: 0,
        writeOperations: 0,
      };
      entry[match[3] === "Read" ? read : write] = Number(match[4]);
      found.set(key, entry);
    }
  };
  collect(`${prefix}.io_service_bytes_recursive`, "readBytes", "writeBytes");
  collect(`${prefix}.io_serviced_recursive`, "readOperations", "writeOperations");
  return [...found.values()];
}
