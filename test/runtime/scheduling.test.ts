import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sys, trySys } from "../../src/linux/call.ts";
import { room, scratch } from "../../src/linux/ffi.ts";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

/** What the kernel says of a process, in the config's terms. */
function scheduling(pid: number) {
  return scratch(() => {
    const { address, view } = room(56);
    sys("sched_getattr", `pid ${pid}`, pid, address, 56, 0);
    const io = sys("ioprio_get", `pid ${pid}`, 1, pid);
    const words = [view.readUInt32LE(4), Number(view.readBigUInt64LE(8)), view.readInt32LE(16), view.readUInt32LE(20)];
    return { policy: words[0], flags: words[1], nice: words[2], priority: words[3], io };
  });
}

const status = (pid: number, field: string) =>
  new RegExp(`^${field}:\\t(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
const personality = (pid: number) => Number.parseInt(readFileSync(`/proc/${pid}/personality`, "utf8"), 16);
const policies = (pid: number) =>
  new Set(
    readFileSync(`/proc/${pid}/numa_maps`, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[1]),
  );
const cpus = Number(/-?(\d+)$/.exec(readFileSync("/sys/devices/system/cpu/online", "utf8").trim())?.[1] ?? 0);
/** Whether this kernel gives us real-time scheduling at all. */
const realtime = scratch(() => {
  const before = room(56);
  trySys("sched_getattr", 0, before.address, 56, 0);
  const { address, view } = room(56);
  view.writeUInt32LE(56, 0);
  view.writeUInt32LE(1, 4);
  view.writeUInt32LE(1, 20);
  const result = trySys("sched_setattr", 0, address, 0);
  if (result === 0) trySys("sched_setattr", 0, before.address, 0);
  return result === 0;
});

const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";
describe.skipIf(cannotRun !== undefined)(`scheduling${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());
  let count = 0;
  /** The pid of a container whose process waits. */
  async function start(change: (spec: Spec & { process: Process; linux: object }) => void) {
    const id = `s${count++}`;
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000", change as never), id);
    return { id, pid: (await runtime.status(id)).pid };
  }
  async function exec(id: string, ...flags: string[]) {
    const file = join(runtime.dir, `pid${count++}`);
    await runtime.ok("exec", "-d", "--pid-file", file, ...flags, id, "sleep", "1000");
    return Number(readFileSync(file, "utf8"));
  }

  // biome-ignore format: a table
  const cases: [name: string, Partial<Process>, object, needs?: boolean][] = [
    ["batch, nice",   { scheduler: { policy: "SCHED_BATCH", nice: 7 } },                              { policy: 3, nice: 7 }],
    ["other, nice",   { scheduler: { policy: "SCHED_OTHER", nice: -3 } },                             { policy: 0, nice: -3 }],
    ["idle, reset",   { scheduler: { policy: "SCHED_IDLE", flags: ["SCHED_FLAG_RESET_ON_FORK"] } },   { policy: 5, flags: 1 }],
    ["fifo",          { scheduler: { policy: "SCHED_FIFO", priority: 3 } },                           { policy: 1, priority: 3 }, realtime],
    ["round robin",   { scheduler: { policy: "SCHED_RR", priority: 4 } },                             { policy: 2, priority: 4 }, realtime],
    ["io idle",       { ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 } },                    { io: 0x6000 }],
    ["io best effort", { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 2 } },                     { io: 0x4002 }],
    ["io real time",  { ioPriority: { class: "IOPRIO_CLASS_RT", priority: 1 } },                      { io: 0x2001 }],
  ];
  for (const [name, process, expected, can = true] of cases) {
    test.skipIf(!can)(`${name}, and so for exec${can ? "" : " (skipped: no real-time scheduling here)"}`, async () => {
      const { id, pid } = await start((s) => Object.assign(s.process, process));
      expect(scheduling(pid)).toMatchObject(expected);
      expect(scheduling(await exec(id))).toMatchObject(expected);
      await runtime.ok("delete", "-f", id);
    });
  }

  test("in a user namespace too, whose root has no rights over the host's scheduling", async () => {
    const { id, pid } = await start((s) => {
      s.linux.namespaces?.push({ type: "user" });
      s.linux.uidMappings = s.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
      s.process.scheduler = { policy: "SCHED_OTHER", nice: -4 };
      s.process.ioPriority = { class: "IOPRIO_CLASS_RT", priority: 2 };
      s.process.oomScoreAdj = 77;
    });
    for (const each of [pid, await exec(id)]) {
      expect(scheduling(each)).toMatchObject({ nice: -4, io: 0x2002 });
      expect(readFileSync(`/proc/${each}/oom_score_adj`, "utf8")).toBe("77\n");
    }
    await runtime.ok("delete", "-f", id);
  });

  test("personality and memory policy, and so for exec", async () => {
    const { id, pid } = await start((s) => {
      s.linux.personality = { domain: "LINUX32" };
      if (existsSync("/proc/self/numa_maps")) s.linux.memoryPolicy = { mode: "MPOL_BIND", nodes: "0" };
    });
    for (const each of [pid, await exec(id)]) {
      expect(personality(each)).toBe(8);
      if (existsSync("/proc/self/numa_maps")) expect([...policies(each)]).toEqual(["bind:0"]);
    }
    await runtime.ok("delete", "-f", id);
  });

  test.skipIf(cpus === 0)("execCPUAffinity: of what is exec'd, not of the container", async () => {
    const { id, pid } = await start((s) => {
      s.process.execCPUAffinity = { initial: "0-1", final: "1" };
    });
    expect(status(pid, "Cpus_allowed_list")).not.toBe("1");
    expect(status(await exec(id), "Cpus_allowed_list")).toBe("1");
    const file = join(runtime.dir, "affine.json");
    const process_ = { user: { uid: 0, gid: 0 }, cwd: "/", args: ["/bin/sleep", "1000"], env: [] };
    writeFileSync(file, JSON.stringify({ ...process_, execCPUAffinity: { initial: "0" } }));
    expect(status(await exec(id, "--process", file), "Cpus_allowed_list")).toBe("0");
    writeFileSync(file, JSON.stringify({ ...process_, execCPUAffinity: { final: "8000" } }));
    expect(await runtime.run(["exec", "--process", file, id])).toMatchObject({
      code: 255,
      err: expect.stringContaining("process.execCPUAffinity.final"),
    });
    await runtime.ok("delete", "-f", id);
  });

  // biome-ignore format: a table
  test.each<[object, string]>([
    [{ process: { scheduler: {} } },                                     "process.scheduler.policy: required"],
    [{ process: { scheduler: { policy: "SCHED_X" } } },                  'process.scheduler.policy: unknown "SCHED_X"'],
    [{ process: { scheduler: { policy: "SCHED_ISO" } } },                "this kernel has no such process.scheduler"],
    [{ process: { scheduler: { policy: "SCHED_RR", nice: 1.5 } } },      "process.scheduler.nice: 1.5 is not an integer"],
    [{ process: { ioPriority: { class: "X", priority: 1 } } },           'process.ioPriority.class: unknown "X"'],
    [{ process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } } }, "process.ioPriority.priority: 8 is not"],
    [{ process: { execCPUAffinity: { final: "9-1" } } },                 "process.execCPUAffinity.final: the range 9-1 goes"],
    [{ linux: { personality: { domain: "X" } } },                        'linux.personality.domain: unknown "X"'],
    [{ linux: { memoryPolicy: { mode: "MPOL_BIND" } } },                 "linux.memoryPolicy.nodes: MPOL_BIND needs some"],
    [{ linux: { memoryPolicy: { mode: "MPOL_BIND", nodes: "900" } } },   "linux.memoryPolicy: none of its nodes has memory"],
  ])("%j is an error, and nothing is left", async (parts: { process?: object; linux?: object }, message) => {
    const bundle = runtime.bundle("true", (s) => {
      Object.assign(s.process, parts.process);
      Object.assign(s.linux, parts.linux);
    });
    const { code, err } = await runtime.run(["create", "-b", bundle, "bad"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "bad"))).toBe(false);
  });
});
