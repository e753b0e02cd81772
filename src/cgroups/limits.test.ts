import { describe, expect, test } from "bun:test";
import { SysError } from "../base/errors.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import { CONTROLLERS } from "./controllers.ts";
import { weightOfShares } from "./cpu.ts";
import { CgroupDirectory } from "./directory.ts";
import { ioWeight } from "./io.ts";

/** Records writes; `files` are there with these contents, undefined means that every file is there and empty. */
class Journal extends CgroupDirectory {
  readonly log: string[] = [];
  constructor(
    readonly files?: Record<string, string>,
    readonly refuse?: (file: string, value: string, files: Record<string, string>) => boolean,
  ) {
    super("/fake");
  }
  override has(file: string): boolean {
    return this.files === undefined || file in this.files;
  }
  override tryRead(file: string): string | undefined {
    return this.files?.[file];
  }
  override write(file: string, value: string | number): void {
    if (this.refuse?.(file, String(value), this.files ?? {})) throw new SysError("write", file, 22);
    if (this.files) this.files[file] = String(value);
    this.log.push(`${file} = ${value}`);
  }
}

function apply(version: 1 | 2, resources: Resources, directory = new Journal(), fresh = true) {
  const warnings: string[] = [];
  for (const controller of CONTROLLERS) {
    if (!controller.needed(resources)) continue;
    const write = version === 1 ? controller.v1 : controller.v2;
    write?.call(controller, directory, resources, {
      fresh,
      warn: (what, why) => warnings.push(`${what} discarded: ${why}`),
    });
  }
  return { log: directory.log, warnings };
}

const device = { major: 8, minor: 0 };
const both: [string, Resources, string[], string[]][] = [
  ["nothing", {}, [], []],
  ["what means no limit", { cpu: { shares: 0 }, blockIO: { weight: 0 }, memory: { disableOOMKiller: false } }, [], []],
  ["memory limit", { memory: { limit: 1048576 } }, ["memory.limit_in_bytes = 1048576"], ["memory.max = 1048576"]],
  [
    "memory unlimited means swap unlimited",
    { memory: { limit: -1 } },
    ["memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"],
    ["memory.swap.max = max", "memory.max = max"],
  ],
  [
    "swap is the sum in v1, the difference in v2",
    { memory: { limit: 4096, swap: 12288 } },
    ["memory.limit_in_bytes = 4096", "memory.memsw.limit_in_bytes = 12288"],
    ["memory.swap.max = 8192", "memory.max = 4096"],
  ],
  ["memory, swap and reservation of 0 are not set", { memory: { limit: 0, swap: 0, reservation: 0 } }, [], []],
  ["quota and period of 0 are not set", { cpu: { quota: 0, period: 0, realtimePeriod: 0 } }, [], []],
  ["burst of 0 is none", { cpu: { burst: 0 } }, ["cpu.cfs_burst_us = 0"], ["cpu.max.burst = 0"]],
  ["kernel memory is nothing", { memory: { kernel: 4096, kernelTCP: 4096 } }, [], []],
  [
    "swap as large as the limit is no swap",
    { memory: { limit: 4096, swap: 4096 } },
    ["memory.limit_in_bytes = 4096", "memory.memsw.limit_in_bytes = 4096"],
    ["memory.swap.max = 0", "memory.max = 4096"],
  ],
  ["reservation", { memory: { reservation: 4096 } }, ["memory.soft_limit_in_bytes = 4096"], ["memory.low = 4096"]],
  ["cpu shares", { cpu: { shares: 1024 } }, ["cpu.shares = 1024"], ["cpu.weight = 100"]],
  [
    "cpu quota and period",
    { cpu: { quota: 50000, period: 200000 } },
    ["cpu.cfs_period_us = 200000", "cpu.cfs_quota_us = 50000"],
    ["cpu.max = 50000 200000"],
  ],
  ["cpu without quota", { cpu: { quota: -1 } }, ["cpu.cfs_quota_us = -1"], ["cpu.max = max 100000"]],
  ["cpu burst", { cpu: { burst: 1000 } }, ["cpu.cfs_burst_us = 1000"], ["cpu.max.burst = 1000"]],
  [
    "an idle group gets its shares before, and no weight",
    { cpu: { idle: 1, shares: 512 } },
    ["cpu.shares = 512", "cpu.idle = 1"],
    ["cpu.idle = 1"],
  ],
  [
    "cpuset",
    { cpu: { cpus: "0-1,3", mems: "0" } },
    ["cpuset.cpus = 0-1,3", "cpuset.mems = 0"],
    ["cpuset.cpus = 0-1,3", "cpuset.mems = 0"],
  ],
  ["pids", { pids: { limit: 7 } }, ["pids.max = 7"], ["pids.max = 7"]],
  ["pids of no limit", { pids: {} }, [], []],
  ["pids unlimited", { pids: { limit: -1 } }, ["pids.max = max"], ["pids.max = max"]],
  ["pids zero leaves the one that is there", { pids: { limit: 0 } }, ["pids.max = 1"], ["pids.max = 1"]],
  ["block io weight", { blockIO: { weight: 500 } }, ["blkio.weight = 500"], ["io.bfq.weight = 500"]],
  [
    "block io weight of a device",
    { blockIO: { weightDevice: [{ ...device, weight: 20 }] } },
    ["blkio.weight_device = 8:0 20"],
    ["io.bfq.weight = 8:0 20"],
  ],
  [
    "block io rates",
    {
      blockIO: {
        throttleReadBpsDevice: [{ ...device, rate: 1000 }],
        throttleWriteBpsDevice: [{ ...device, rate: 0 }],
        throttleReadIOPSDevice: [{ ...device, rate: 30 }],
        throttleWriteIOPSDevice: [{ ...device, rate: 40 }],
      },
    },
    [
      "blkio.throttle.read_bps_device = 8:0 1000",
      "blkio.throttle.write_bps_device = 8:0 0",
      "blkio.throttle.read_iops_device = 8:0 30",
      "blkio.throttle.write_iops_device = 8:0 40",
    ],
    ["io.max = 8:0 rbps=1000", "io.max = 8:0 wbps=max", "io.max = 8:0 riops=30", "io.max = 8:0 wiops=40"],
  ],
  [
    "huge pages",
    { hugepageLimits: [{ pageSize: "2MB", limit: 4194304 }] },
    ["hugetlb.2MB.limit_in_bytes = 4194304", "hugetlb.2MB.rsvd.limit_in_bytes = 4194304"],
    ["hugetlb.2MB.max = 4194304", "hugetlb.2MB.rsvd.max = 4194304"],
  ],
  [
    "network class and priorities, only in v1",
    { network: { classID: 0x100001, priorities: [{ name: "eth0", priority: 5 }] } },
    ["net_cls.classid = 1048577", "net_prio.ifpriomap = eth0 5"],
    [],
  ],
  [
    "rdma",
    { rdma: { mlx5_0: { hcaHandles: 2, hcaObjects: 200 } } },
    ["rdma.max = mlx5_0 hca_handle=2 hca_object=200"],
    ["rdma.max = mlx5_0 hca_handle=2 hca_object=200"],
  ],
];

describe("resources become writes", () => {
  test.each(both)("%s", (_, resources, v1, v2) => {
    // An order that the present limit decides: unlimited here.
    expect(apply(1, resources, new Journal()).log.toSorted()).toEqual(v1.toSorted());
    expect(apply(2, resources).log).toEqual(v2);
  });
});

describe("order", () => {
  const memswAboveLimit = (file: string, value: string, files: Record<string, string>) => {
    const limit = file === "memory.limit_in_bytes" ? Number(value) : Number(files["memory.limit_in_bytes"]);
    const memsw = file === "memory.memsw.limit_in_bytes" ? Number(value) : Number(files["memory.memsw.limit_in_bytes"]);
    return limit > memsw;
  };
  test.each([
    ["raising", 4096, 8192, 16384, 32768],
    ["lowering", 16384, 32768, 4096, 8192],
    ["raising within the old sum", 4096, 32768, 16384, 32768],
    ["to equal values", 4096, 4096, 8192, 8192],
  ])("v1 memory limits: %s", (_, oldLimit, oldSwap, limit, swap) => {
    const files = { "memory.limit_in_bytes": `${oldLimit}`, "memory.memsw.limit_in_bytes": `${oldSwap}` };
    apply(1, { memory: { limit, swap } }, new Journal(files, memswAboveLimit), false);
    expect(files).toEqual({ "memory.limit_in_bytes": `${limit}`, "memory.memsw.limit_in_bytes": `${swap}` });
  });

  test("v1 quota before a period that the old quota does not fit", () => {
    const files = { "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000" };
    const journal = new Journal(files, (file, value, now) => {
      const quota = Number(file === "cpu.cfs_quota_us" ? value : now["cpu.cfs_quota_us"]);
      const period = Number(file === "cpu.cfs_period_us" ? value : now["cpu.cfs_period_us"]);
      return quota / period > 0.5;
    });
    apply(1, { cpu: { quota: 5000, period: 10000 } }, journal);
    expect(journal.log).toEqual(["cpu.cfs_quota_us = 5000", "cpu.cfs_period_us = 10000"]);
  });

  test("a period that is refused in any order is the error", () => {
    const journal = new Journal({}, (file) => file === "cpu.cfs_period_us");
    expect(() => apply(1, { cpu: { quota: 5000, period: 10 } }, journal)).toThrow("cpu.cfs_period_us: EINVAL");
  });

  test("v2 keeps the part of cpu.max that is not given", () => {
    const present = { "cpu.max": "20000 50000" };
    expect(apply(2, { cpu: { quota: 10000 } }, new Journal({ ...present })).log).toEqual(["cpu.max = 10000 50000"]);
    expect(apply(2, { cpu: { period: 80000 } }, new Journal({ ...present })).log).toEqual(["cpu.max = 20000 80000"]);
  });

  test("v2 takes the sum as that of swap where memory is unlimited", () => {
    const { log } = apply(2, { memory: { limit: -1, swap: 8192 } });
    expect(log).toEqual(["memory.swap.max = 8192", "memory.max = max"]);
  });

  test("v1 shares that the kernel cuts are an error", () => {
    const directory = new Journal({ "cpu.shares": "0" });
    directory.number = () => 262144;
    expect(() => apply(1, { cpu: { shares: 300000 } }, directory)).toThrow("the maximum allowed cpu-shares is 262144");
  });

  test("v1 leaves idle before shares", () => {
    expect(apply(1, { cpu: { idle: 0, shares: 5 } }).log).toEqual(["cpu.idle = 0", "cpu.shares = 5"]);
  });
});

describe("conversion", () => {
  test.each([
    [1, 1],
    [2, 1],
    [1024, 100],
    [262144, 10000],
    [999999, 10000],
  ])("%d shares are weight %d", (shares, weight) => expect(weightOfShares(shares)).toBe(weight));
  test("weights never fall as shares rise", () => {
    for (let shares = 3; shares < 262144; shares += 97) {
      expect(weightOfShares(shares)).toBeGreaterThanOrEqual(weightOfShares(shares - 1));
    }
  });
  test("io weights keep both ends", () => expect([ioWeight(10), ioWeight(1000)]).toEqual([1, 10000]));
});

describe("what this kernel lacks", () => {
  test.each<[string, 1 | 2, Resources, string]>([
    ["block io weight, v1", 1, { blockIO: { weight: 100 } }, "blkio weight discarded"],
    ["block io weight, v2", 2, { blockIO: { weight: 100 } }, "io weight discarded"],
    ["device weight", 1, { blockIO: { weightDevice: [{ ...device, weight: 20 }] } }, "blkio weight of device 8:0"],
    ["leaf weight", 2, { blockIO: { leafWeight: 100 } }, "io leaf weight discarded"],
    ["swap, v1", 1, { memory: { limit: 4096, swap: 8192 } }, "swap limit discarded"],
    ["swap, v2", 2, { memory: { limit: 4096, swap: 8192 } }, "swap limit discarded"],
    ["swappiness in v2", 2, { memory: { swappiness: 10 } }, "swappiness discarded"],
    ["no OOM killer in v2", 2, { memory: { disableOOMKiller: true } }, "OOM killer discarded"],
    ["realtime in v2", 2, { cpu: { realtimeRuntime: 1000 } }, "realtime limits discarded"],
  ])("%s is a warning", (_, version, resources, text) => {
    const { warnings } = apply(version, resources, new Journal({ "memory.limit_in_bytes": "9999999" }));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(text);
  });

  test("unlimited swap needs no file", () => {
    expect(apply(2, { memory: { limit: 4096, swap: 4096 } }, new Journal({})).warnings).toEqual([]);
    expect(apply(1, { memory: { limit: 4096, swap: -1 } }, new Journal({})).warnings).toEqual([]);
  });
});

describe("refused values", () => {
  test.each<[string, Resources, 1 | 2 | undefined]>([
    ["memory limit -2", { memory: { limit: -2 } }, undefined],
    ["memory limit 1.5", { memory: { limit: 1.5 } }, undefined],
    ["memory limit NaN", { memory: { limit: Number.NaN } }, undefined],
    ["swap below the limit", { memory: { limit: 8192, swap: 4096 } }, undefined],
    ["swap without a limit", { memory: { swap: 4096 } }, 2],
    ["swappiness 101", { memory: { swappiness: 101 } }, undefined],
    ["a limit that is text", { pids: { limit: "5\n" as unknown as number } }, undefined],
    ["pids -2", { pids: { limit: -2 } }, undefined],
    ["cpu shares -1", { cpu: { shares: -1 } }, undefined],
    ["cpu period -1", { cpu: { period: -1 } }, undefined],
    ["cpu idle 2", { cpu: { idle: 2 } }, undefined],
    ["cpuset text", { cpu: { cpus: "0;1" } }, undefined],
    ["cpuset newline", { cpu: { cpus: "0\n1" } }, undefined],
    ["weight 5", { blockIO: { weight: 5 } }, undefined],
    ["weight 1001", { blockIO: { weight: 1001 } }, undefined],
    ["device without weights", { blockIO: { weightDevice: [device] } }, undefined],
    ["major -1", { blockIO: { throttleReadBpsDevice: [{ major: -1, minor: 0, rate: 1 }] } }, undefined],
    ["page size", { hugepageLimits: [{ pageSize: "../2MB", limit: 1 }] }, undefined],
    ["classID", { network: { classID: 2 ** 32 } }, 1],
    ["interface name", { network: { priorities: [{ name: "a b", priority: 1 }] } }, 1],
    ["rdma device", { rdma: { "a b": { hcaHandles: 1 } } }, undefined],
    ["rdma without values", { rdma: { a: {} } }, undefined],
  ])("%s", (_, resources, only) => {
    for (const version of [1, 2] as const) {
      if (only !== undefined && only !== version) continue;
      expect(() => apply(version, resources)).toThrow(expect.objectContaining({ kind: "invalid" }));
    }
  });

  test("checkBeforeUpdate keeps a limit above what is used", () => {
    const resources = { memory: { limit: 4096, checkBeforeUpdate: true } };
    const update = () => apply(2, resources, new Journal({ "memory.current": "8192", "memory.max": "max" }));
    expect(update).toThrow("memory limit 4096 is below the 8192 bytes in use");
    const both = { memory: { limit: 16384, swap: 6000, checkBeforeUpdate: true } };
    expect(() => apply(2, both, new Journal({ "memory.current": "8192" }))).toThrow("memory limit 6000 is below");
  });

  test("an unknown huge page size is unavailable", () => {
    const limit = () => apply(2, { hugepageLimits: [{ pageSize: "64KB", limit: 1 }] }, new Journal({}));
    expect(limit).toThrow("the kernel has no huge pages of 64KB");
  });
});
