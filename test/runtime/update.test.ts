import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cannotRun, eventually, Runtime } from "./bundle.ts";
import { cgroupFile, hierarchy, isV1, pathIn } from "./cgroup-files.ts";

/** resctrl is mounted nowhere that these tests run. */
const NO_RESCTRL = "no resctrl file system is mounted";
const MIB = 1048576;

describe.skipIf(cannotRun !== undefined)(`update${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let pid: number;
  beforeAll(async () => {
    runtime = new Runtime();
    const bundle = runtime.bundle("exec sleep 1000", (spec) => {
      spec.linux.resources = { devices: spec.linux.resources?.devices ?? [] };
    });
    await runtime.ok("run", "-d", "-b", bundle, "u");
    pid = (await runtime.status("u")).pid;
  });
  afterAll(() => runtime.close());

  const quota = () => cgroupFile(pid, "cpu.cfs_quota_us", "cpu.max");
  const shares = (value: number) => (isV1("cpu") ? String(value) : { 512: "59", 1024: "100" }[value]);

  test("the container joins what the limit needs", async () => {
    await runtime.ok("update", "--pids-limit", "77", "u");
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("77");
    expect(pathIn(pid, "pids")).toBe("/inro-runtime/u");
    await runtime.ok("update", "--pids-limit=-1", "u");
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("max");
  });

  test("memory, in bytes and with units", async () => {
    await runtime.ok("update", "--memory", "64m", "--memory-reservation", "16M", "u");
    expect(cgroupFile(pid, "memory.limit_in_bytes", "memory.max")).toBe(String(64 * MIB));
    expect(cgroupFile(pid, "memory.soft_limit_in_bytes", "memory.low")).toBe(String(16 * MIB));
    await runtime.ok("update", "--memory", String(32 * MIB), "u");
    expect(cgroupFile(pid, "memory.limit_in_bytes", "memory.max")).toBe(String(32 * MIB));
    expect(cgroupFile(pid, "memory.soft_limit_in_bytes", "memory.low")).toBe(String(16 * MIB));
  });

  test("memory and swap, up and down; swap alone knows the limit of before", async () => {
    const swap = (sum: number, limit: number) => String((isV1("memory") ? sum : sum - limit) * MIB);
    const read = () => cgroupFile(pid, "memory.memsw.limit_in_bytes", "memory.swap.max");
    await runtime.ok("update", "--memory", "128m", "--memory-swap", "256m", "u");
    expect(read()).toBe(swap(256, 128));
    await runtime.ok("update", "--memory", "32m", "--memory-swap", "48m", "u");
    expect(read()).toBe(swap(48, 32));
    await runtime.ok("update", "--memory-swap", "96m", "u");
    expect(read()).toBe(swap(96, 32));
    await runtime.ok("update", "--memory-swap", "-1", "u");
    expect(read()).toBe(isV1("memory") ? "9223372036854771712" : "max");
  });

  test("quota and period, together and each alone", async () => {
    const both = (q: number, p: number) => (isV1("cpu") ? String(q) : `${q} ${p}`);
    await runtime.ok("update", "--cpu-quota", "50000", "--cpu-period", "200000", "u");
    expect(quota()).toBe(both(50000, 200000));
    await runtime.ok("update", "--cpu-quota", "30000", "u");
    expect(quota()).toBe(both(30000, 200000));
    await runtime.ok("update", "--cpu-period", "100000", "--cpu-share", "512", "u");
    expect(quota()).toBe(both(30000, 100000));
    expect(cgroupFile(pid, "cpu.cfs_period_us", "cpu.max")).toContain("100000");
    expect(cgroupFile(pid, "cpu.shares", "cpu.weight")).toBe(shares(512)!);
    await runtime.ok("update", "--cpu-burst", "10000", "u");
    expect(cgroupFile(pid, "cpu.cfs_burst_us", "cpu.max.burst")).toBe("10000");
    await runtime.ok("update", "--cpu-burst", "0", "--cpu-quota", "-1", "u");
    expect(quota()).toBe(isV1("cpu") ? "-1" : "max 100000");
    await runtime.ok("update", "--cpu-idle", "1", "u");
    expect(cgroupFile(pid, "cpu.idle", "cpu.idle")).toBe("1");
    await runtime.ok("update", "--cpu-idle", "0", "--cpu-share", "1024", "u");
    expect(cgroupFile(pid, "cpu.shares", "cpu.weight")).toBe(shares(1024)!);
  });

  test("cpuset", async () => {
    await runtime.ok("update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "u");
    expect(cgroupFile(pid, "cpuset.cpus", "cpuset.cpus")).toBe("0");
    expect(await runtime.ok("exec", "u", "cat", "/proc/self/status")).toContain("Cpus_allowed_list:\t0\n");
  });

  test("from a file, and from stdin; then the flags count for nothing", async () => {
    const file = join(runtime.dir, "resources.json");
    writeFileSync(file, JSON.stringify({ pids: { limit: 33 }, cpu: { shares: 512, quota: 0 }, memory: { limit: 0 } }));
    await runtime.ok("update", "--resources", file, "--pids-limit", "44", "u");
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("33");
    expect(cgroupFile(pid, "cpu.shares", "cpu.weight")).toBe(shares(512)!);
    const stdin = JSON.stringify({ pids: { limit: 55 }, devices: [{ allow: false, access: "rwm" }] });
    const result = await runtime.run(["update", "--resources=-", "u"], { stdin });
    expect(result).toEqual({ code: 0, out: "", err: "" });
    expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("55");
    // The devices are as they were.
    expect(await runtime.ok("exec", "u", "sh", "-c", "echo ok > /dev/null && echo written")).toBe("written\n");
  });

  test("what the kernel refuses changes nothing", async () => {
    await runtime.ok("update", "--pids-limit", "20", "--memory", "64m", "--memory-swap", "-1", "u");
    const { code, err } = await runtime.run(["update", "--memory", "96m", "--cpuset-cpus", "4095", "u"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("cpuset.cpus") });
    expect(cgroupFile(pid, "memory.limit_in_bytes", "memory.max")).toBe(String(64 * MIB));
  });

  test("kernel memory is a warning", async () => {
    const { code, err } = await runtime.run(["update", "--kernel-memory", "1m", "--kernel-memory-tcp", "1m", "u"]);
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("kernel memory limits discarded") });
  });

  test.each<[string, string[], string]>([
    ["a size", ["--memory", "1x"], "invalid value for memory: invalid suffix: 'x'"],
    ["a number", ["--cpu-quota", "much"], 'invalid value for cpu-quota: "much" is no whole number'],
    ["pids", ["--pids-limit", "-2"], "invalid pids limit -2"],
    ["weight", ["--blkio-weight", "5"], "invalid blkio weight 5: must be an integer from 10 to 1000"],
    ["idle", ["--cpu-idle", "2"], "invalid cpu idle 2"],
    ["a burst over the quota", ["--cpu-quota", "10000", "--cpu-burst", "90000"], "EINVAL"],
    ["cpus", ["--cpuset-cpus", "0;1"], "invalid cpuset cpus"],
    ["no file", ["--resources", "/nope.json"], "--resources /nope.json: ENOENT"],
    ["a cache schema without resctrl", ["--l3-cache-schema", "L3:0=f"], NO_RESCTRL],
    ["a bandwidth schema without resctrl", ["--mem-bw-schema", "MB:0=50"], NO_RESCTRL],
    ["an unknown flag", ["--memori", "1m"], "flag provided but not defined: -memori"],
  ])("refuses %s", async (_, flags, message) => {
    const { code, err } = await runtime.run(["update", ...flags, "u"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
  });

  test.each([
    ["wrong types", '{"memory":{"limit":"1m"}}', "resources.memory.limit: must be a number"],
    ["no JSON", "{", "--resources -: "],
    ["no object", "[]", "resources: must be an object"],
  ])("refuses %s on stdin", async (_, stdin, message) => {
    const { code, err } = await runtime.run(["update", "-r", "-", "u"], { stdin });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
  });

  test("of a container that has ended or never was", async () => {
    expect((await runtime.run(["update", "--pids-limit", "5", "nobody"])).err).toContain("container does not exist");
    await runtime.ok("run", "-d", "-b", runtime.bundle("exit 0"), "ended");
    await eventually("stopped", async () => (await runtime.status("ended")).status === "stopped");
    expect((await runtime.run(["update", "--pids-limit", "5", "ended"])).err).toContain("container not running");
  });

  test("after delete none of its cgroups is left", async () => {
    const { mountpoint } = { mountpoint: hierarchy.controllers.get("pids")! };
    expect(existsSync(`${mountpoint}/inro-runtime/u`)).toBe(true);
    await runtime.ok("delete", "--force", "u");
    for (const mount of new Set(hierarchy.controllers.values())) {
      expect(existsSync(`${mount}/inro-runtime/u`)).toBe(false);
    }
  });
});
