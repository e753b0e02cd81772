import type { ContainerCpuStats, ContainerStats } from "../spec/docker-api.ts";
import { binarySize, humanSize } from "./human.ts";
import type { Row } from "./table.ts";

const SHORT_ID = 12;

/** One line of `inro stats` about what was asked for by `container`. `reading` undefined: nothing has been read yet. */
export function statsRow(container: string, reading: ContainerStats | undefined, full: boolean): Row {
  const known = reading !== undefined;
  const { usage, limit } = memory(reading);
  const [received, sent] = network(reading);
  const [read, written] = blockIo(reading);
  const percent = (value: number) => (known ? `${value.toFixed(2)}%` : "--");
  const pair = (one: string, other: string) => (known ? `${one} / ${other}` : "-- / --");
  // The first reading of a stream says nothing of a share.
  const isFirst = reading?.cpu_stats.system_cpu_usage !== undefined && !reading.precpu_stats.system_cpu_usage;
  const cpu = isFirst ? "--" : percent(reading ? cpuPercent(reading.cpu_stats, reading.precpu_stats) : 0);
  return {
    BlockIO: pair(humanSize(read), humanSize(written)),
    CPUPerc: cpu,
    Container: full ? container : container.replace(/^([0-9a-f]{12})[0-9a-f]{52}$/, "$1"),
    ID: reading ? (full ? reading.id : reading.id.slice(0, SHORT_ID)) : "--",
    MemPerc: percent(limit > 0 ? (usage / limit) * 100 : 0),
    MemUsage: pair(binarySize(usage), binarySize(limit)),
    Name: reading?.name.replace(/^\//, "") ?? "--",
    NetIO: pair(humanSize(received), humanSize(sent)),
    PIDs: known ? String(reading.pids_stats.current ?? 0) : "--",
  };
}

/** 100 is one processor. */
export function cpuPercent(now: ContainerCpuStats, before: ContainerCpuStats): number {
  const own = now.cpu_usage.total_usage - before.cpu_usage.total_usage;
  const all = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const online = now.online_cpus || now.cpu_usage.percpu_usage?.length || 1;
  return all > 0 && own > 0 ? (own / all) * online * 100 : 0;
}

/** Without the page cache that could be dropped at once; cgroup v1 and v2 have two names for it. */
function memory(reading: ContainerStats | undefined): { usage: number; limit: number } {
  const { usage = 0, limit = 0, stats = {} } = reading?.memory_stats ?? {};
  const inactive = stats.total_inactive_file ?? stats.inactive_file ?? 0;
  return { usage: inactive < usage ? usage - inactive : usage, limit };
}

function network(reading: ContainerStats | undefined): [received: number, sent: number] {
  const all = Object.values(reading?.networks ?? {});
  return [all.reduce((sum, one) => sum + one.rx_bytes, 0), all.reduce((sum, one) => sum + one.tx_bytes, 0)];
}

function blockIo(reading: ContainerStats | undefined): [read: number, written: number] {
  const entries = reading?.blkio_stats.io_service_bytes_recursive ?? [];
  const sum = (op: string) =>
    entries.filter((entry) => entry.op.toLowerCase() === op).reduce((total, { value }) => total + value, 0);
  return [sum("read"), sum("write")];
}
