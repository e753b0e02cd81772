import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cgroup } from "../../../cgroups/cgroup.ts";
import type { Hierarchy } from "../../../cgroups/hierarchy.ts";
import { parseDuration } from "../events.ts";
import { ranges } from "./cpu.ts";
import { encodeJson } from "./figures.ts";
import { interfaces } from "./others.ts";
import { rdtFigures } from "./rdt.ts";
import { statsOf } from "./stats.ts";

const root = mkdtempSync(join(tmpdir(), "inro-stats-"));
afterAll(() => rmSync(root, { recursive: true }));

function tree(mountpoint: string, files: Record<string, string>): void {
  mkdirSync(join(mountpoint, "c"), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(mountpoint, "c", name), `${text}\n`);
}

const PSI = "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5";

describe("stats as runc prints them", () => {
  test("cgroup v2", () => {
    tree(join(root, "v2"), {
      "cpu.stat":
        "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\ncore_sched.force_idle_usec 0",
      "cpu.pressure": PSI,
      "cpuset.cpus.effective": "0-1,4",
      "cpuset.mems.effective": "0",
      "memory.current": "4096",
      "memory.max": "max",
      "memory.peak": "8192",
      "memory.swap.current": "100",
      "memory.swap.max": "max",
      "memory.stat": "anon 1\nfile 2",
      "memory.events": "low 0\nmax 6\noom_kill 1",
      "pids.current": "2",
      "pids.max": "9",
      "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:16",
      "hugetlb.2MB.current": "2097152",
      "hugetlb.2MB.events": "max 3",
    });
    const unified = join(root, "v2");
    const names = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"];
    const hierarchy: Hierarchy = { mode: "v2", root, unified, controllers: new Map(names.map((n) => [n, unified])) };
    const text = encodeJson(statsOf(Cgroup.open(hierarchy, "/c"), process.pid));
    expect(text).toContain('"usage":{"limit":18446744073709551615,"usage":4096,"max":8192,"failcnt":6}');
    expect(JSON.parse(text)).toEqual({
      cpu: {
        usage: { total: 30000, kernel: 20000, user: 10000 },
        throttling: { periods: 4, throttledPeriods: 3, throttledTime: 2000 },
        psi: {
          some: { avg10: 1.5, avg60: 0, avg300: 0, total: 77 },
          full: { avg10: 0, avg60: 0, avg300: 0, total: 5 },
        },
      },
      cpuset: {
        cpus: [0, 1, 4],
        cpu_exclusive: 0,
        mems: [0],
        mem_hardwall: 0,
        mem_exclusive: 0,
        memory_migrate: 0,
        memory_spread_page: 0,
        memory_spread_slab: 0,
        memory_pressure: 0,
        sched_load_balance: 0,
        sched_relax_domain_level: 0,
      },
      memory: {
        cache: 2,
        usage: expect.anything(),
        swap: { limit: expect.any(Number), usage: 4196, failcnt: 0 },
        kernel: { limit: 0, failcnt: 0 },
        kernelTCP: { limit: 0, failcnt: 0 },
        raw: { anon: 1, file: 2 },
      },
      pids: { current: 2, limit: 9 },
      blkio: {
        ioServiceBytesRecursive: [
          { major: 8, op: "Read", value: 10 },
          { major: 8, op: "Write", value: 20 },
        ],
        ioServicedRecursive: [
          { major: 8, op: "Read", value: 1 },
          { major: 8, op: "Write", value: 2 },
        ],
      },
      hugetlb: { "2MB": { usage: 2097152, failcnt: 3 } },
      intel_rdt: {},
      network_interfaces: null,
    });
  });

  test("cgroup v1, block I/O of the scheduler that counts", () => {
    tree(join(root, "blkio"), {
      "blkio.throttle.io_serviced_recursive": "8:0 Read 5\nTotal 5",
      "blkio.bfq.io_serviced_recursive": "8:0 Read 1\n8:0 Total 1\nTotal 1",
      "blkio.bfq.io_service_bytes_recursive": "8:0 Read 512\nTotal 512",
      "blkio.bfq.time_recursive": "8:0 7",
    });
    tree(join(root, "hugetlb"), {
      "hugetlb.2MB.usage_in_bytes": "1",
      "hugetlb.2MB.rsvd.usage_in_bytes": "2",
      "hugetlb.2MB.rsvd.max_usage_in_bytes": "3",
      "hugetlb.2MB.rsvd.failcnt": "4",
    });
    const at = (name: string) => [name, join(root, name)] as const;
    const hierarchy: Hierarchy = { mode: "v1", root, controllers: new Map([at("blkio"), at("hugetlb")]) };
    expect(JSON.parse(encodeJson(statsOf(Cgroup.open(hierarchy, "/c"), process.pid)))).toMatchObject({
      blkio: {
        ioServicedRecursive: [
          { major: 8, op: "Read", value: 1 },
          { major: 8, op: "Total", value: 1 },
        ],
        ioServiceBytesRecursive: [{ major: 8, op: "Read", value: 512 }],
        ioTimeRecursive: [{ major: 8, value: 7 }],
      },
      hugetlb: { "2MB": { usage: 2, max: 3, failcnt: 4 } },
      memory: { usage: { limit: 0, failcnt: 0 } },
    });
  });

  test("interfaces", () => {
    const text = `Inter-|   Receive | Transmit
 face |bytes |bytes
    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0: 10 20 30 40 0 0 0 0 50 60 70 80 0 0 0 0
`;
    expect(JSON.parse(encodeJson(interfaces(text)))).toEqual([
      {
        ...{ Name: "eth0", RxBytes: 10, RxPackets: 20, RxErrors: 30, RxDropped: 40 },
        ...{ TxBytes: 50, TxPackets: 60, TxErrors: 70, TxDropped: 80 },
      },
    ]);
  });

  test("resctrl", () => {
    for (const path of ["rdt/info/L3", "rdt/c/mon_data/mon_L3_00"]) mkdirSync(join(root, path), { recursive: true });
    const files = {
      "info/L3/cbm_mask": "fff",
      "info/L3/min_cbm_bits": "1",
      schemata: "    L3:0=fff",
      "c/schemata": "    L3:0=f\n    MB:0=50",
      "c/mon_data/mon_L3_00/llc_occupancy": "4096",
      "c/mon_data/mon_L3_00/mbm_total_bytes": "7",
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, "rdt", name), `${text}\n`);
    expect(JSON.parse(encodeJson(rdtFigures({ group: join(root, "rdt/c"), owned: true })))).toEqual({
      l3_cache_info: { cbm_mask: "fff", min_cbm_bits: 1 },
      l3_cache_schema_root: "L3:0=fff",
      l3_cache_schema: "L3:0=f",
      mem_bw_schema: "MB:0=50",
      mbm_stats: [{ mbm_total_bytes: 7 }],
      cmt_stats: [{ llc_occupancy: 4096 }],
    });
  });

  test("ranges", () => expect(ranges("0-2,5")).toEqual([0, 1, 2, 5]));
});

test.each([
  ["5s", 5000],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  [".5s", 500],
  ["100ms", 100],
  ["250us", 0.25],
])("duration %s is %d ms", (text, ms) => expect(parseDuration(text)).toBeCloseTo(ms, 6));
