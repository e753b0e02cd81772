import { totalmem } from "node:os";
import type { CgroupStats, IoStats } from "../../cgroups/stats.ts";
import type { BlkioEntry, ContainerCpuStats, ContainerStats } from "../../spec/docker-api.ts";
import { formatNanoseconds, ZERO_TIME } from "../clock.ts";
import type { Container } from "../container.ts";
import type { Sample } from "./sample.ts";

/** What is the same for all. */
interface Fixed {
  os_type: "linux";
  num_procs: 0;
  storage_stats: object;
}

/**
 * GET /containers/{id}/stats: a container's use at `now`, and its processor time at `before`, so that a client can tell
 * the share. Without `before` that part is zero; without `now`, as of a container that does not run, all is.
 */
export function statsResponse(
  container: Container,
  now: Sample | undefined,
  before: Sample | undefined,
): ContainerStats & Fixed {
  const { id, record } = container;
  const usage = now?.usage;
  return {
    id,
    name: `/${record.name}`,
    os_type: "linux",
    read: now ? formatNanoseconds(now.at) : ZERO_TIME,
    preread: now && before ? formatNanoseconds(before.at) : ZERO_TIME,
    pids_stats: { ...usage?.pids },
    blkio_stats: blkio(usage),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpu(now),
    precpu_stats: cpu(now && before),
    memory_stats: memory(usage?.memory),
    ...(now?.networks ? { networks: now.networks } : {}),
  };
}

function cpu(sample: Sample | undefined): ContainerCpuStats {
  const { total = 0, user = 0, kernel = 0, perCpu, throttling } = sample?.usage.cpu ?? {};
  return {
    cpu_usage: {
      total_usage: total,
      ...(perCpu ? { percpu_usage: perCpu } : {}),
      usage_in_kernelmode: kernel,
      usage_in_usermode: user,
    },
    ...(sample ? { system_cpu_usage: sample.host.total, online_cpus: sample.host.online } : {}),
    throttling_data: {
      periods: throttling?.periods ?? 0,
      throttled_periods: throttling?.throttledPeriods ?? 0,
      throttled_time: throttling?.throttledTime ?? 0,
    },
  };
}

function memory(used: CgroupStats["memory"]): ContainerStats["memory_stats"] {
  if (!used) return {};
  const { version, current, peak, limitHits, detail } = used;
  const machine = totalmem();
  return {
    usage: current,
    ...(version === 1 ? { max_usage: peak ?? current, failcnt: limitHits ?? 0 } : {}),
    stats: detail,
    limit: Math.min(used.limit ?? machine, machine),
  };
}

const UNKNOWN = {
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

/** The operations are written as each version of cgroups writes them: clients look for both. */
function blkio(usage: CgroupStats | undefined): ContainerStats["blkio_stats"] {
  const devices = usage?.io;
  if (!devices) return { io_service_bytes_recursive: null, io_serviced_recursive: null, ...UNKNOWN };
  const v1 = usage.memory?.version === 1;
  const entries = (read: keyof IoStats, write: keyof IoStats) =>
    devices.flatMap((device) => {
      const entry = (op: string, value: number): BlkioEntry => ({
        major: device.major,
        minor: device.minor,
        op,
        value,
      });
      const both = [entry(v1 ? "Read" : "read", device[read]), entry(v1 ? "Write" : "write", device[write])];
      return v1 ? [...both, entry("Total", device[read] + device[write])] : both;
    });
  return {
    io_service_bytes_recursive: entries("readBytes", "writeBytes"),
    io_serviced_recursive: v1 ? entries("readOperations", "writeOperations") : null,
    ...UNKNOWN,
  };
}
