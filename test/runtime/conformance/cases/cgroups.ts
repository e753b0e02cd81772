import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Case, type Change, section } from "../case.ts";
import { CGROUP } from "../context.ts";
import { cgroupDirectory, firstDisk, hierarchy, noController, noV1, noV2, v2 } from "../machine.ts";

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
  ["pids.limit -1", { pids: { limit: -1 } }, "pids/pids.max=max", "pids/pids.max=max"],
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

export const resourceCases: readonly Case[] = [
  ...ROWS.map(([name, given, v1, v2Place, differs]) => {
    const place = v2 ? v2Place : v1;
    const [, path = "", expected = ""] = /^([^=]*)=(.*)$/.exec(place ?? "") ?? [];
    const controller = path.split("/")[0]!;
    const missing =
      place === undefined
        ? v2
          ? noV1
          : noV2
        : /blockIO\.(throttle|weightDevice)/.test(name) && !firstDisk
          ? "no disk"
          : noController(path, controller);
    return does(
      `linux.resources.${name}`,
      async (c) => {
        const container = await c.created("true", resources(given));
        expect(readFileSync(await container.cgroupFile(controller, path.split("/")[1]!), "utf8").trim()).toMatch(
          new RegExp(`(^|\\n)${expected.replaceAll(".", "\\.")}`),
        );
      },
      { ...(missing && { missing }), ...(differs && { differs }), ...(v2Place && { vm: true as const }) },
    );
  }),
  does(
    "linux.resources.memory: all at once",
    async (c) => {
      const container = await c.created(
        "true",
        resources({ memory: { limit: 64 * MIB, reservation: 32 * MIB }, pids: { limit: 9 }, cpu: { shares: 300 } }),
      );
      expect(readFileSync(await container.cgroupFile("pids", "pids.max"), "utf8")).toBe("9\n");
      expect(
        readFileSync(await container.cgroupFile("memory", v2 ? "memory.max" : "memory.limit_in_bytes"), "utf8"),
      ).toBe("67108864\n");
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
    { vm: true, missing: noController("pids/pids.max", "pids") },
  ),
  refuses("linux.resources.memory.swappiness: over 100", resources({ memory: { swappiness: 101 } }), /swappiness/, {
    differs: { crun: "1.8.1 leaves it to the kernel" },
  }),
  refuses(
    "linux.resources.memory.swap: less than limit",
    resources({ memory: { limit: 64 * MIB, swap: 32 * MIB } }),
    /memory/,
    { vm: true, differs: { crun: LEAVES } },
  ),
  refuses("linux.resources.cpu.shares: negative", resources({ cpu: { shares: -1 } }), /cpu\.shares/, {
    differs: { crun: "1.8.1 takes it" },
  }),
  refuses("linux.resources.cpu.cpus: none that exist", resources({ cpu: { cpus: "4000-4001" } }), /cpus/, {
    vm: true,
    differs: { crun: LEAVES },
  }),
  refuses("linux.resources.cpu.cpus: no list", resources({ cpu: { cpus: "x" } }), /cpus/, {
    vm: true,
    differs: { crun: LEAVES },
  }),
  refuses("linux.resources.blockIO.weight: over 1000", resources({ blockIO: { weight: 1001 } }), /weight/, {
    vm: true,
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

export const cgroupCases: readonly Case[] = [
  does(
    "linux.cgroupsPath: absolute",
    async (c) => {
      const container = await c.created();
      const directory = cgroupDirectory((await container.state()).pid, "memory");
      expect(directory).toEndWith(`${CGROUP}/${container.id}`);
      await container.does("delete", ["--force"]);
      expect(existsSync(directory)).toBe(false);
    },
    { vm: true },
  ),
  does(
    "linux.cgroupsPath: relative",
    async (c) => {
      const container = await c.created("true", (s) => {
        s.linux.cgroupsPath = s.linux.cgroupsPath!.slice(1);
      });
      expect(cgroupDirectory((await container.state()).pid, "memory")).toEndWith(`${CGROUP}/${container.id}`);
    },
    { vm: true },
  ),
  does(
    "linux.cgroupsPath: absent",
    async (c) => {
      const container = await c.created("true", { linux: { cgroupsPath: undefined } });
      expect(readFileSync(`/proc/${(await container.state()).pid}/cgroup`, "utf8")).toContain(`/${container.id}\n`);
    },
    { vm: true },
  ),
  does(
    "linux.cgroupsPath: stays in the cgroup file system",
    async (c) => {
      const container = await c.created("true", (s) => {
        s.linux.cgroupsPath = `/../../..${s.linux.cgroupsPath}`;
      });
      expect(cgroupDirectory((await container.state()).pid, "memory")).toEndWith(`${CGROUP}/${container.id}`);
    },
    { vm: true, differs: { crun: "1.8.1 makes the directory outside" } },
  ),
  does(
    "cgroup: what is below goes with delete",
    async (c) => {
      const container = await c.up();
      const directory = cgroupDirectory((await container.state()).pid, "memory");
      mkdirSync(join(directory, "sub/sub"), { recursive: true });
      await container.does("delete", ["--force"]);
      expect(existsSync(directory)).toBe(false);
    },
    { spec: "runc", vm: true },
  ),
  does(
    "cgroup: create in one that has processes",
    async (c) => {
      const first = await c.up();
      const path = dirname(await first.cgroupFile("memory", "x"));
      const second = c.container("true", (s) => {
        s.linux.cgroupsPath = `${CGROUP}/${first.id}`;
      });
      expect((await second.launch("create")).code).not.toBe(0);
      expect(existsSync(path)).toBe(true);
      expect(await first.status()).toBe("running");
    },
    { spec: "runc", vm: true, differs: { crun: "1.8.1 takes it" } },
  ),
  does(
    "cgroup: create in one that is frozen",
    async (c) => {
      const container = c.container("true");
      const top = v2 ? hierarchy.unified! : hierarchy.controllers.get("freezer")!;
      const directory = join(top, CGROUP, container.id);
      mkdirSync(directory, { recursive: true });
      const freeze = (on: boolean) =>
        writeFileSync(
          join(directory, v2 ? "cgroup.freeze" : "freezer.state"),
          v2 ? (on ? "1" : "0") : on ? "FROZEN" : "THAWED",
        );
      freeze(true);
      // A runtime that does not look waits for a process that cannot run.
      const thaw = setTimeout(() => freeze(false), 5000);
      const { code } = await container.launch("create").finally(() => clearTimeout(thaw));
      if (existsSync(directory)) freeze(false);
      if (code !== 0 && existsSync(directory)) rmdirSync(directory);
      expect(code).not.toBe(0);
    },
    { spec: "runc", vm: true, differs: { crun: "waits for it" } },
  ),
  does(
    "mounts.type cgroup: the container's own",
    async (c) => {
      const { out } = await c.run(
        `cat /sys/fs/cgroup/${v2 ? "" : "memory/"}cgroup.procs; grep -c ' /sys/fs/cgroup' /proc/self/mountinfo`,
      );
      expect(out).toMatch(/^1$/m);
    },
    { spec: "config-linux.md#control-groups", vm: true },
  ),
  does(
    "mounts.type cgroup: read-only",
    async (c) => {
      const { err } = await c.run(`mkdir /sys/fs/cgroup/${v2 ? "" : "memory/"}x`);
      expect(err).toMatch(/Read-only file system/);
    },
    { vm: true },
  ),
  does(
    "exec joins the container's cgroup",
    async (c) => {
      const container = await c.up((s) => {
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "cgroup");
      });
      const controller = v2 ? "0::" : ":memory:";
      const line = `grep '${controller}' /proc/self/cgroup`;
      expect(await container.sh(line)).toEndWith(`${CGROUP}/${container.id}`);
    },
    { spec: "runc", vm: true },
  ),
];
