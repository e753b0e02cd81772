import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { applyChange, type Case, type Change, section } from "../case.ts";
import { cgroupDirectory, firstDisk, noController, noV1, noV2, v2 } from "../machine.ts";

const { refuses, does } = section("config-linux.md#control-groups");
const LEAVES = "1.8.1 leaves the cgroup behind when create fails";
const resources = (given: object): Change => ({ linux: { resources: { devices: [], ...given } } });

/** Property, what is asked, and where it must be: `controller/file=text` on v1, `controller/file=text` on v2. */
type Row = readonly [
  name: string,
  given: object,
  v1: string | undefined,
  v2: string | undefined,
  differs?: Case["differs"],
];

const MIB = 1 << 20;
const disk = firstDisk ?? { major: 0, minor: 0 };
const AT = `${disk.major}:${disk.minor}`;

const ROWS: readonly Row[] = [
  [
    "memory.limit",
    { memory: { limit: 64 * MIB } },
    "memory/memory.limit_in_bytes=67108864",
    "memory/memory.max=67108864",
  ],
  [
    "memory.limit -1",
    { memory: { limit: -1 } },
    "memory/memory.limit_in_bytes=9223372036854771712",
    "memory/memory.max=max",
  ],
  [
    "memory.reservation",
    { memory: { reservation: 32 * MIB } },
    "memory/memory.soft_limit_in_bytes=33554432",
    "memory/memory.low=33554432",
  ],
  [
    "memory.swap",
    { memory: { limit: 64 * MIB, swap: 128 * MIB } },
    "memory/memory.memsw.limit_in_bytes=134217728",
    "memory/memory.swap.max=67108864",
  ],
  [
    "memory.swap as limit",
    { memory: { limit: 64 * MIB, swap: 64 * MIB } },
    "memory/memory.memsw.limit_in_bytes=67108864",
    "memory/memory.swap.max=0",
  ],
  ["memory.swappiness", { memory: { swappiness: 40 } }, "memory/memory.swappiness=40", undefined],
  [
    "memory.disableOOMKiller",
    { memory: { disableOOMKiller: true } },
    "memory/memory.oom_control=oom_kill_disable 1",
    undefined,
  ],
  ["cpu.shares", { cpu: { shares: 512 } }, "cpu/cpu.shares=512", "cpu/cpu.weight=59"],
  ["cpu.shares 1024", { cpu: { shares: 1024 } }, "cpu/cpu.shares=1024", "cpu/cpu.weight=100"],
  ["cpu.shares: the least", { cpu: { shares: 2 } }, "cpu/cpu.shares=2", "cpu/cpu.weight=1"],
  [
    "cpu.quota, period",
    { cpu: { quota: 50000, period: 200000 } },
    "cpu/cpu.cfs_quota_us=50000",
    "cpu/cpu.max=50000 200000",
  ],
  ["cpu.period", { cpu: { period: 50000 } }, "cpu/cpu.cfs_period_us=50000", "cpu/cpu.max=max 50000"],
  ["cpu.quota -1", { cpu: { quota: -1 } }, "cpu/cpu.cfs_quota_us=-1", "cpu/cpu.max=max 100000", { crun: LEAVES }],
  [
    "cpu.burst",
    { cpu: { quota: 50000, burst: 20000 } },
    "cpu/cpu.cfs_burst_us=20000",
    "cpu/cpu.max.burst=20000",
    { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" },
  ],
  ["cpu.idle", { cpu: { idle: 1 } }, "cpu/cpu.idle=1", "cpu/cpu.idle=1", { runc: "1.1.5 does not know it on v1" }],
  ["cpu.cpus", { cpu: { cpus: "0" } }, "cpuset/cpuset.cpus=0", "cpuset/cpuset.cpus=0"],
  ["cpu.mems", { cpu: { mems: "0" } }, "cpuset/cpuset.mems=0", "cpuset/cpuset.mems=0"],
  ["pids.limit", { pids: { limit: 17 } }, "pids/pids.max=17", "pids/pids.max=17"],
  ["pids.limit -1", { pids: { limit: -1 } }, "pids/pids.max=max", "pids/pids.max=max", { crun: LEAVES }],
  ["blockIO.weight", { blockIO: { weight: 500 } }, "blkio/blkio.weight=500", "io/io.weight=default 4950"],
  ["blockIO.leafWeight", { blockIO: { leafWeight: 500 } }, "blkio/blkio.leaf_weight=500", undefined],
  [
    "blockIO.weightDevice",
    { blockIO: { weightDevice: [{ ...disk, weight: 300 }] } },
    `blkio/blkio.weight_device=${AT} 300`,
    undefined,
  ],
  [
    "blockIO.throttleReadBpsDevice",
    { blockIO: { throttleReadBpsDevice: [{ ...disk, rate: MIB }] } },
    `blkio/blkio.throttle.read_bps_device=${AT} 1048576`,
    `io/io.max=${AT} rbps=1048576`,
  ],
  [
    "blockIO.throttleWriteBpsDevice",
    { blockIO: { throttleWriteBpsDevice: [{ ...disk, rate: MIB }] } },
    `blkio/blkio.throttle.write_bps_device=${AT} 1048576`,
    `io/io.max=${AT} rbps=max wbps=1048576`,
  ],
  [
    "blockIO.throttleReadIOPSDevice",
    { blockIO: { throttleReadIOPSDevice: [{ ...disk, rate: 100 }] } },
    `blkio/blkio.throttle.read_iops_device=${AT} 100`,
    `io/io.max=${AT} rbps=max wbps=max riops=100`,
  ],
  [
    "blockIO.throttleWriteIOPSDevice",
    { blockIO: { throttleWriteIOPSDevice: [{ ...disk, rate: 100 }] } },
    `blkio/blkio.throttle.write_iops_device=${AT} 100`,
    `io/io.max=${AT} rbps=max wbps=max riops=max wiops=100`,
  ],
  [
    "hugepageLimits",
    { hugepageLimits: [{ pageSize: "2MB", limit: 4 * MIB }] },
    "hugetlb/hugetlb.2MB.limit_in_bytes=4194304",
    "hugetlb/hugetlb.2MB.max=4194304",
  ],
  ["network.classID", { network: { classID: 0x100001 } }, "net_cls/net_cls.classid=1048577", undefined],
  [
    "network.priorities",
    { network: { priorities: [{ name: "lo", priority: 3 }] } },
    "net_prio/net_prio.ifpriomap=lo 3",
    undefined,
  ],
  ["unified", { unified: { "pids.max": "23" } }, undefined, "pids/pids.max=23"],
  ["unified memory.high", { unified: { "memory.high": "67108864" } }, undefined, "memory/memory.high=67108864"],
];

/** Where a row's value must be, or why it cannot be asked here. */
function placeOf([name, , v1, v2Place]: Row) {
  const place = v2 ? v2Place : v1;
  const [, controller = "", file = "", expected = ""] = /^([^/]*)\/([^=]*)=(.*)$/.exec(place ?? "") ?? [];
  let missing = noController(`${controller}/${file}`, controller);
  if (place === undefined) missing = v2 ? noV1 : noV2;
  else if (/blockIO\.(throttle|weightDevice)/.test(name) && !firstDisk) missing = "no disk";
  return { controller, file, missing, expected: new RegExp(`(^|\\n)${expected.replaceAll(".", "\\.")}`) };
}

/** Rows that do not contradict each other. */
const TOGETHER = [
  ...["memory.reservation", "memory.swap", "cpu.shares", "cpu.quota, period", "cpu.cpus", "cpu.mems", "pids.limit"],
  ...["blockIO.weight", "blockIO.throttleReadBpsDevice", "unified memory.high"],
];

export const resourceCases: readonly Case[] = [
  ...ROWS.map((row) => {
    const { controller, file, expected, missing } = placeOf(row);
    const [name, given, , , differs] = row;
    return does(
      `linux.resources.${name}`,
      async (c) => {
        const container = await c.created("true", resources(given));
        expect(readFileSync(await container.cgroupFile(controller, file), "utf8").trim()).toMatch(expected);
      },
      { ...(missing && { missing }), ...(differs && { differs }) },
    );
  }),
  does(
    "linux.resources: many at once",
    async (c) => {
      const rows = ROWS.filter((row) => TOGETHER.includes(row[0]) && !placeOf(row).missing);
      const container = c.container("true", resources({}));
      c.edit(container, (text) => {
        const spec = JSON.parse(text);
        for (const [, given] of rows) applyChange(spec, { linux: { resources: given } });
        return JSON.stringify(spec);
      });
      const { pid } = await (await container.ok("create")).state();
      for (const { controller, file, expected } of rows.map(placeOf)) {
        expect(readFileSync(join(cgroupDirectory(pid, controller), file), "utf8").trim()).toMatch(expected);
      }
    },
    { vm: true },
  ),
  does(
    "linux.resources.pids.limit holds",
    async (c) => {
      const { err } = await c.run(
        "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; kill -9 $(ps -o pid,comm | awk '/sleep/{print $1}')",
        resources({ pids: { limit: 4 } }),
      );
      expect(err).toMatch(/fork|Resource temporarily unavailable/);
    },
    { missing: noController("pids/pids.max", "pids") },
  ),
  refuses("linux.resources.memory.swappiness: over 100", resources({ memory: { swappiness: 101 } }), /swappiness/, {
    differs: { crun: "1.8.1 leaves it to the kernel" },
  }),
  refuses(
    "linux.resources.memory.swap: less than limit",
    resources({ memory: { limit: 64 * MIB, swap: 32 * MIB } }),
    /memory/,
    { differs: { crun: LEAVES } },
  ),
  refuses("linux.resources.cpu.shares: negative", resources({ cpu: { shares: -1 } }), /cpu\.shares/, {
    differs: { crun: "1.8.1 takes it" },
  }),
  refuses("linux.resources.cpu.cpus: none that exist", resources({ cpu: { cpus: "4000-4001" } }), /cpus/, {
    differs: { crun: LEAVES },
  }),
  refuses("linux.resources.cpu.cpus: no list", resources({ cpu: { cpus: "x" } }), /cpus/, {
    differs: { crun: LEAVES },
  }),
  refuses("linux.resources.blockIO.weight: over 1000", resources({ blockIO: { weight: 1001 } }), /weight/, {
    differs: { crun: "1.8.1 leaves it to the kernel" },
  }),
  refuses(
    "linux.resources.hugepageLimits: unknown size",
    resources({ hugepageLimits: [{ pageSize: "3MB", limit: 1 }] }),
    /hugepageLimits|3MB|hugetlb/,
    { differs: { crun: LEAVES } },
  ),
  refuses("linux.resources.unified: on v1", resources({ unified: { "memory.max": "1" } }), /unified/, {
    missing: noV1,
    differs: { crun: "ignores it" },
  }),
  refuses("linux.resources.unified: a slash in a name", resources({ unified: { "../x": "1" } }), /unified/, {
    missing: noV2,
    vm: true,
  }),
  refuses(
    "linux.resources.unified: a controller that is not there",
    resources({ unified: { "nope.max": "1" } }),
    /unified|nope/,
    { missing: noV2, vm: true },
  ),
];
