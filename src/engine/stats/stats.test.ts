import { describe, expect, test } from "bun:test";
import type { CgroupStats } from "../../cgroups/stats.ts";
import type { Container } from "../container.ts";
import { statsResponse } from "./response.ts";
import { parseHostCpu, parseNetDev, type Sample } from "./sample.ts";

const container = { id: "f".repeat(64), record: { name: "web" } } as Container;
const host = { total: 50_000_000_000, online: 4 };
const sample = (usage: CgroupStats, at = 1_700_000_000_000_000_000n): Sample => ({ at, usage, host });
const io = [{ major: 8, minor: 16, readBytes: 10, writeBytes: 20, readOperations: 1, writeOperations: 2 }];

describe("docker's shape of what a container uses", () => {
  test("cgroup v2", () => {
    const usage: CgroupStats = {
      memory: { version: 2, current: 3_000_000, limit: 10_000_000, detail: { anon: 1, inactive_file: 2 } },
      cpu: { total: 9, user: 5, kernel: 4, throttling: { periods: 3, throttledPeriods: 2, throttledTime: 1 } },
      pids: { current: 2, limit: 10 },
      io,
    };
    const before = sample({ cpu: { total: 1, user: 1, kernel: 0 } }, 1_699_999_999_000_000_000n);
    expect(statsResponse(container, sample(usage), before)).toMatchObject({
      name: "/web",
      read: "2023-11-14T22:13:20.000000000Z",
      preread: "2023-11-14T22:13:19.000000000Z",
      pids_stats: { current: 2, limit: 10 },
      memory_stats: { usage: 3_000_000, limit: 10_000_000, stats: { anon: 1, inactive_file: 2 } },
      cpu_stats: {
        cpu_usage: { total_usage: 9, usage_in_kernelmode: 4, usage_in_usermode: 5 },
        system_cpu_usage: host.total,
        online_cpus: 4,
        throttling_data: { periods: 3, throttled_periods: 2, throttled_time: 1 },
      },
      precpu_stats: { cpu_usage: { total_usage: 1 } },
      blkio_stats: {
        io_service_bytes_recursive: [
          { major: 8, minor: 16, op: "read", value: 10 },
          { major: 8, minor: 16, op: "write", value: 20 },
        ],
        io_serviced_recursive: null,
      },
    });
  });

  test("cgroup v1: per processor, peak and failures of memory, its words for I/O; no limit is the machine's memory", () => {
    const usage: CgroupStats = {
      memory: { version: 1, current: 3, peak: 4, limitHits: 5, detail: { total_inactive_file: 1 } },
      cpu: { total: 9, user: 5, kernel: 4, perCpu: [6, 3] },
      io,
    };
    const { memory_stats, cpu_stats, blkio_stats, preread } = statsResponse(container, sample(usage), undefined);
    expect(memory_stats).toMatchObject({ usage: 3, max_usage: 4, failcnt: 5 });
    expect(memory_stats.limit).toBeGreaterThan(1 << 27);
    expect(cpu_stats.cpu_usage.percpu_usage).toEqual([6, 3]);
    expect(blkio_stats.io_service_bytes_recursive?.map(({ op, value }) => `${op} ${value}`)).toEqual([
      "Read 10",
      "Write 20",
      "Total 30",
    ]);
    expect(blkio_stats.io_serviced_recursive).toHaveLength(3);
    expect(preread).toBe("0001-01-01T00:00:00Z");
  });

  test("a stopped container is all zeros", () => {
    const { cpu_stats, memory_stats, read } = statsResponse(container, undefined, sample({}));
    expect({ memory_stats, read }).toEqual({ memory_stats: {}, read: "0001-01-01T00:00:00Z" });
    expect(cpu_stats).toEqual({
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
    });
  });
});

test("/proc/stat: the first seven figures of all processors", () => {
  const text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 1 1 1 1 1 1 1 1 1\nintr 5\n";
  expect(parseHostCpu(text)).toEqual({ total: 280 * 10_000_000, online: 2 });
});

test("/proc/<pid>/net/dev: interfaces without the loopback", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1234      12    1    2    0     0          0         0     4321      21    3    4    0     0       0          0
`;
  expect(parseNetDev(text)).toEqual({
    eth0: {
      ...{ rx_bytes: 1234, rx_packets: 12, rx_errors: 1, rx_dropped: 2 },
      ...{ tx_bytes: 4321, tx_packets: 21, tx_errors: 3, tx_dropped: 4 },
    },
  });
});
