import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { removeEmptyParent } from "../../src/cgroups/cgroup.ts";
import { locate } from "../../src/cgroups/hierarchy.ts";
import type { Resources } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";
import { cgroupFile, hierarchy, isV1, pathIn } from "./cgroup-files.ts";

const MIB = 1048576;
const PARENT = `/inro-test-resources-${process.pid}`;

/** Numbers of a whole disk here. */
const disk = (existsSync("/sys/block") ? readdirSync("/sys/block") : [])
  .filter((name) => !name.startsWith("loop"))
  .map((name) => readFileSync(`/sys/block/${name}/dev`, "utf8").trim().split(":").map(Number))[0];
const device = { major: disk?.[0] ?? 0, minor: disk?.[1] ?? 0 };

describe.skipIf(cannotRun !== undefined)(`resources${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let count = 0;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(async () => {
    await runtime.close();
    removeEmptyParent(hierarchy, PARENT);
  });

  const bundle = (resources: Resources, script = "exec sleep 1000", path = `${PARENT}/r${count}`) =>
    runtime.bundle(script, (spec) => {
      spec.linux.resources = { ...resources, devices: resources.devices ?? spec.linux.resources?.devices ?? [] };
      spec.linux.cgroupsPath = path;
    });
  const start = async (resources: Resources) => {
    const id = `r${++count}`;
    await runtime.ok("run", "-d", "-b", bundle(resources), id);
    const { pid } = await runtime.status(id);
    return { pid, end: () => runtime.ok("delete", "--force", id) };
  };
  const refused = async (resources: Resources, message: string | RegExp) => {
    const id = `r${++count}`;
    const { code, err } = await runtime.run(["run", "-d", "-b", bundle(resources), id]);
    const text = typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message);
    expect({ code, err }).toEqual({ code: 1, err: text });
    expect(existsSync(`${runtime.root}/${id}`)).toBe(false);
    for (const mountpoint of new Set([...hierarchy.controllers.values(), hierarchy.unified])) {
      expect(existsSync(`${mountpoint}${PARENT}/${id}`)).toBe(false);
    }
  };

  test("memory", async () => {
    const { pid, end } = await start({ memory: { limit: 64 * MIB, reservation: 32 * MIB, swap: 96 * MIB } });
    expect(cgroupFile(pid, "memory.limit_in_bytes", "memory.max")).toBe(String(64 * MIB));
    expect(cgroupFile(pid, "memory.soft_limit_in_bytes", "memory.low")).toBe(String(32 * MIB));
    expect(cgroupFile(pid, "memory.memsw.limit_in_bytes", "memory.swap.max")).toBe(
      String((isV1("memory") ? 96 : 32) * MIB),
    );
    await end();
  });

  test("processor", async () => {
    const cpu = { shares: 2048, quota: 50000, period: 100000, burst: 10000, cpus: "0", mems: "0" };
    const { pid, end } = await start({ cpu });
    expect(cgroupFile(pid, "cpu.shares", "cpu.weight")).toBe(isV1("cpu") ? "2048" : "174");
    expect(cgroupFile(pid, "cpu.cfs_quota_us", "cpu.max")).toBe(isV1("cpu") ? "50000" : "50000 100000");
    expect(cgroupFile(pid, "cpu.cfs_burst_us", "cpu.max.burst")).toBe("10000");
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toContain("Cpus_allowed_list:\t0\n");
    await end();
    const idle = await start({ cpu: { idle: 1 } });
    expect(cgroupFile(idle.pid, "cpu.idle", "cpu.idle")).toBe("1");
    await idle.end();
  });

  test.each([
    [17, "17"],
    [-1, "max"],
    [0, "1"],
  ])("pids %d is %s", async (limit, text) => {
    const { pid, end } = await start({ pids: { limit } });
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe(text);
    await end();
  });

  test.skipIf(!disk)("block I/O rates (needs a disk)", async () => {
    const rate = (value: number) => [{ ...device, rate: value }];
    const { pid, end } = await start({
      blockIO: {
        throttleReadBpsDevice: rate(1000000),
        throttleWriteBpsDevice: rate(2000000),
        throttleReadIOPSDevice: rate(300),
        throttleWriteIOPSDevice: rate(400),
      },
    });
    const name = `${device.major}:${device.minor}`;
    if (isV1("blkio")) {
      expect(cgroupFile(pid, "blkio.throttle.read_bps_device", "io.max")).toBe(`${name} 1000000`);
      expect(cgroupFile(pid, "blkio.throttle.write_iops_device", "io.max")).toBe(`${name} 400`);
    } else {
      expect(cgroupFile(pid, "blkio.x", "io.max")).toBe(`${name} rbps=1000000 wbps=2000000 riops=300 wiops=400`);
    }
    await end();
  });

  const weighed = () => {
    const found = locate(hierarchy, { v1: "blkio", v2: "io" });
    const probe = `${found?.mountpoint}/inro-probe-${process.pid}`;
    if (!found) return undefined;
    mkdirSync(probe);
    const names = found.version === 1 ? ["blkio.bfq.weight", "blkio.weight"] : ["io.bfq.weight", "io.weight"];
    const file = names.find((name) => existsSync(`${probe}/${name}`));
    rmdirSync(probe);
    return file;
  };
  const weight = cannotRun === undefined ? weighed() : undefined;
  test.skipIf(!weight)("block I/O weight (needs a scheduler with weights)", async () => {
    const { pid, end } = await start({ blockIO: { weight: 300 } });
    expect(cgroupFile(pid, weight!, weight!)).toContain(weight === "io.weight" ? "2930" : "300");
    await end();
  });

  const pages = hierarchy.controllers.has("hugetlb") && existsSync("/sys/kernel/mm/hugepages/hugepages-2048kB");
  test.skipIf(!pages)("huge pages, reservations too (needs the controller and pages of 2 MB)", async () => {
    const { pid, end } = await start({ hugepageLimits: [{ pageSize: "2MB", limit: 4 * MIB }] });
    expect(cgroupFile(pid, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")).toBe(String(4 * MIB));
    expect(cgroupFile(pid, "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max")).toBe(String(4 * MIB));
    await end();
    await refused({ hugepageLimits: [{ pageSize: "3MB", limit: 1 }] }, "the kernel has no huge pages of 3MB");
  });

  test.skipIf(hierarchy.mode !== "v2")("unified, every file and by lines (cgroup v2 only)", async () => {
    const { pid, end } = await start({ unified: { "memory.high": "67108864", "pids.max": "9", "cpu.weight": "50" } });
    expect(cgroupFile(pid, "x.x", "memory.high")).toBe("67108864");
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("9");
    expect(cgroupFile(pid, "x.x", "cpu.weight")).toBe("50");
    await end();
    await refused({ unified: { "memory.nonsense": "1" } }, "memory.nonsense");
  });

  const loop = existsSync("/sys/block/loop1");
  test.skipIf(!loop)(
    "devices, in order: denied, allowed again, and what every container has (needs loop devices)",
    async () => {
      const id = `r${++count}`;
      const rules = [
        { allow: false, access: "rwm" },
        { allow: true, type: "b" as const, major: 7, access: "rw" },
        { allow: false, type: "b" as const, major: 7, minor: 1, access: "w" },
      ];
      const script = [
        "busybox mknod /dev/shm/loop0 b 7 0 && busybox mknod /dev/shm/loop1 b 7 1 && echo made",
        "(: <> /dev/shm/loop0) && echo both",
        "(: < /dev/shm/loop1) && echo read",
        "(: > /dev/shm/loop1) 2>/dev/null || echo not written",
        "busybox mknod /dev/shm/mem c 1 1 && (: < /dev/shm/mem) 2>/dev/null || echo no mem",
        "echo > /dev/null && echo null",
      ].join("; ");
      const path = runtime.bundle(script, (spec) => {
        spec.linux.resources = { devices: rules };
        spec.process.capabilities = { bounding: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"], effective: ["CAP_MKNOD"] };
        for (const mount of spec.mounts ?? []) {
          if (mount.destination === "/dev/shm") mount.options = ["mode=1777", "dev"];
        }
      });
      const { out, err } = await runtime.run(["run", "-b", path, id]);
      expect(out || err).toBe("made\nboth\nread\nnot written\nno mem\nnull\n");
    },
  );

  test("kernel memory is a warning", async () => {
    const id = `r${++count}`;
    const path = bundle({ memory: { kernel: MIB, kernelTCP: MIB } }, "echo ran");
    const { code, out, err } = await runtime.run(["run", "-b", path, id]);
    expect({ code, out, err }).toEqual({ code: 0, out: "ran\n", err: expect.stringContaining("kernel memory limits") });
  });

  const absent = (v1: string, v2 = v1) => locate(hierarchy, { v1, v2 }) === undefined;
  test.each<[string, Resources, string | RegExp, boolean?]>([
    ["swap below the limit", { memory: { limit: 64 * MIB, swap: 32 * MIB } }, "is below the memory limit"],
    ["swappiness 101", { memory: { swappiness: 101 } }, "swappiness"],
    ["cpus that are not there", { cpu: { cpus: "4095" } }, /cpuset.cpus.*no such processor/],
    ["mems that are not there", { cpu: { mems: "63" } }, /cpuset.mems.*no such processor or memory node/],
    ["a quota below 1000", { cpu: { quota: 10 } }, "at least 1000 us"],
    ["a period over a second", { cpu: { period: 2000000 } }, "EINVAL"],
    ["idle 7", { cpu: { idle: 7 } }, "invalid cpu idle 7"],
    ["weight 9", { blockIO: { weight: 9 } }, "invalid blkio weight 9"],
    ["a device without weights", { blockIO: { weightDevice: [device] } }, "has neither weight nor leafWeight"],
    [
      "no such disk",
      { blockIO: { throttleReadBpsDevice: [{ major: 250, minor: 77, rate: 1 }] } },
      "no such block device",
    ],
    ["a device rule of no access", { devices: [{ allow: true, access: "" }] }, "invalid device access"],
    ["a device rule of unknown type", { devices: [{ allow: true, type: "x" as "c", access: "r" }] }, 'unknown "x"'],
    ["unified with a slash", { unified: { "a/b": "1" } }, "must be a cgroup v2 file name"],
    ["unified of no controller", { unified: { "nonesuch.max": "1" } }, "the cgroup controller nonesuch is not there"],
    ["huge pages of no size", { hugepageLimits: [{ pageSize: "3MB", limit: 1 }] }, /3MB|hugetlb is not there/],
    ["rdma of neither", { rdma: { mlx: {} } }, /neither hcaHandles nor hcaObjects|rdma is not there/],
    ["network class", { network: { classID: 1 } }, "net_cls", !absent("net_cls", "")],
    [
      "network priorities",
      { network: { priorities: [{ name: "lo", priority: 1 }] } },
      "net_prio",
      !absent("net_prio", ""),
    ],
  ])("refuses %s, and leaves nothing", async (_, resources, message, skip = false) => {
    if (!skip) await refused(resources, message);
  });

  test.each([
    [{}, "no resctrl file system is mounted"],
    [{ closID: "a/b" }, 'linux.intelRdt.closID: "a/b" is no name of a group'],
    [{ schemata: "L3:0=f" as unknown as string[] }, "linux.intelRdt.schemata: must be an array"],
  ])("refuses intelRdt %j, and leaves nothing", async (intelRdt, message) => {
    const path = runtime.bundle("exit 0", (spec) => Object.assign(spec.linux, { intelRdt }));
    const { code, err } = await runtime.run(["run", "-b", path, "rdt"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(`${runtime.root}/rdt`)).toBe(false);
  });

  test("a cgroup with processes is an error, and stays", async () => {
    const { pid, end } = await start({});
    const path = pathIn(pid, "memory");
    const { code, err } = await runtime.run(["create", "-b", bundle({}, "exit 0", path), "second"]);
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("cgroup is not empty: 1 process(es) found"),
    });
    expect(pathIn(pid, "memory")).toBe(path);
    await end();
  });

  test("a frozen cgroup is an error", async () => {
    const path = `${PARENT}/frozen`;
    const root = hierarchy.unified ?? hierarchy.controllers.get("freezer")!;
    mkdirSync(`${root}${path}`, { recursive: true });
    if (hierarchy.unified) writeFileSync(`${root}${path}/cgroup.freeze`, "1");
    else writeFileSync(`${root}${path}/freezer.state`, "FROZEN");
    try {
      const { code, err } = await runtime.run(["create", "-b", bundle({}, "exit 0", path), "frozen"]);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("cgroup unexpectedly frozen") });
    } finally {
      rmdirSync(`${root}${path}`);
    }
  });

  test("one without a named place, rights or limits is in no v1 hierarchy that costs and counts nothing", async () => {
    const path = runtime.bundle("exec sleep 1000", (spec) => {
      spec.linux.resources = { devices: spec.linux.resources?.devices ?? [] };
    });
    await runtime.ok("run", "-d", "-b", path, "plain");
    const { pid } = await runtime.status("plain");
    const places = readFileSync(`/proc/${pid}/cgroup`, "utf8")
      .split("\n")
      .filter((line) => line.endsWith("/plain"));
    expect(places).toEqual(["0::/inro-runtime/plain"]);
    await runtime.ok("delete", "--force", "plain");
  });

  test.skipIf(hierarchy.mode !== "v2")(
    "the cgroup is the user's where it is mounted for writing (cgroup v2 only)",
    async () => {
      const id = `r${++count}`;
      const path = runtime.bundle("exec sleep 1000", (spec) => {
        spec.process.user = { uid: 4242, gid: 4242 };
        const others = spec.linux.namespaces?.filter(({ type }) => type !== "cgroup") ?? [];
        spec.linux.namespaces = [...others, { type: "cgroup" }];
        const mounts = spec.mounts?.filter(({ destination }) => destination !== "/sys/fs/cgroup") ?? [];
        const mount = { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"] };
        spec.mounts = [...mounts, mount];
      });
      await runtime.ok("run", "-d", "-b", path, id);
      const directory = `${hierarchy.unified}${pathIn((await runtime.status(id)).pid, "")}`;
      expect(statSync(`${directory}/cgroup.procs`).uid).toBe(4242);
      expect(statSync(`${directory}/pids.max`).uid).toBe(0);
      await runtime.ok("delete", "--force", id);
    },
  );
});
