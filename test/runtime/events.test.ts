import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { removeEmptyParent } from "../../src/cgroups/cgroup.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";
import { hierarchy, isV1, pathIn } from "./cgroup-files.ts";

const MIB = 1048576;
const PARENT = `/inro-test-${process.pid}`;

describe.skipIf(cannotRun !== undefined)(`events${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(async () => {
    await runtime.close();
    removeEmptyParent(hierarchy, PARENT);
  });

  const start = async (id: string, script: string) => {
    const bundle = runtime.bundle(script, (spec) => {
      spec.linux.resources = { ...spec.linux.resources, memory: { limit: 32 * MIB, swap: 32 * MIB } };
      spec.linux.cgroupsPath = `${PARENT}/${id}`;
    });
    await runtime.ok("run", "-d", "-b", bundle, id);
    return (await runtime.status(id)).pid;
  };

  test("stats: runc's fields, from where the callers read them too", async () => {
    const pid = await start(
      "s",
      "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo x > /dev/shm/done; exec sleep 1000",
    );
    await eventually(
      "it has counted",
      async () => (await runtime.run(["exec", "s", "cat", "/dev/shm/done"])).code === 0,
    );
    const lines = (await runtime.ok("events", "--stats", "s")).split("\n");
    expect(lines).toHaveLength(2);
    const { type, id, data } = JSON.parse(lines[0]!);
    expect({ type, id }).toEqual({ type: "stats", id: "s" });
    expect(Object.keys(data)).toEqual([
      ...["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"],
    ]);
    expect(data.cpu.usage.total).toBeGreaterThan(1_000_000);
    expect(data.cpu.usage.user + data.cpu.usage.kernel).toBeGreaterThan(0);
    expect(data.cpu.throttling).toBeObject();
    expect(data.cpuset).toMatchObject({ cpus: expect.arrayContaining([0]), mems: [0], memory_pressure: 0 });
    expect(data.memory.usage).toMatchObject({ limit: 32 * MIB, failcnt: 0 });
    expect(data.memory.usage.usage).toBeGreaterThan(4096);
    expect(data.memory.raw.pgfault).toBeGreaterThan(0);
    for (const part of ["swap", "kernel", "kernelTCP"]) expect(data.memory[part]).toHaveProperty("limit");
    expect(data.pids).toEqual({ current: 1 });
    for (const mountpoint of new Set(hierarchy.controllers.values())) {
      const controller = [...hierarchy.controllers].find(([, m]) => m === mountpoint)![0];
      expect(pathIn(pid, controller)).toBe(`${PARENT}/s`);
    }
    await runtime.ok("delete", "--force", "s");
  });

  test("numbers of 64 bits are whole", async () => {
    await start("whole", "exec sleep 1000");
    await runtime.ok("update", "--memory-swap", "-1", "whole");
    const text = await runtime.ok("events", "--stats", "whole");
    expect(text).toContain(isV1("memory") ? '"limit":9223372036854771712' : '"limit":18446744073709551615');
    await runtime.ok("delete", "--force", "whole");
  });

  test("stats at each interval, oom when it happens, and the end with the container", async () => {
    // Its first process survives: the one that grows is killed.
    await start("oom", "exec sleep 1000");
    const watch = runtime.spawn(["events", "--interval", "50ms", "oom"], ["ignore", "pipe", "inherit"]);
    let text = "";
    const read = (async () => {
      for await (const chunk of watch.stdout as ReadableStream<Uint8Array>) text += Buffer.from(chunk).toString();
    })();
    await eventually("it watches", () => text.includes('"type":"stats"'));
    const grow = await runtime.run(["exec", "oom", "sh", "-c", "x=$(cat /dev/zero | busybox tr '\\0' x)"]);
    expect(grow.code).not.toBe(0);
    await eventually("it tells", () => text.includes('{"type":"oom","id":"oom"}\n'));
    await runtime.ok("kill", "oom", "KILL");
    expect(await watch.exited).toBe(0);
    await read;
    for (const line of text.trimEnd().split("\n")) expect(["oom", "stats"]).toContain(JSON.parse(line).type);
  });

  test("errors", async () => {
    expect(await runtime.run(["events", "nobody"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("container does not exist"),
    });
    await start("ended", "exit 0");
    await eventually("stopped", async () => (await runtime.status("ended")).status === "stopped");
    for (const args of [
      ["events", "--stats", "ended"],
      ["events", "ended"],
    ]) {
      expect(await runtime.run(args)).toMatchObject({
        code: 1,
        err: expect.stringContaining("container with id ended is not running"),
      });
    }
    for (const interval of ["0", "0s", "-1s", "5", "x"]) {
      const { code, err } = await runtime.run(["events", `--interval=${interval}`, "ended"]);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/interval/) });
    }
  });
});
