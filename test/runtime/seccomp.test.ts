import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Seccomp } from "../../src/spec/oci-runtime.ts";
import { Agent, NEARLY_EVERYTHING } from "./agent.ts";
import { cannotRun, Runtime } from "./bundle.ts";

describe.skipIf(cannotRun !== undefined)(`linux.seccomp${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(() => runtime.close());

  const bundle = (script: string, seccomp: unknown, noNewPrivileges = true) =>
    runtime.bundle(script, (s) => {
      s.linux.seccomp = seccomp as Seccomp;
      s.process.noNewPrivileges = noNewPrivileges;
    });
  const onMkdir = (rule: object) => ({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mkdir", "no_such_call"], ...rule }],
  });

  describe("an action", () => {
    const MADE = "0\n";
    // A shell says 128 + SIGSYS of a command that the kernel ended.
    test.each<[string, object, string]>([
      ["KILL", { action: "SCMP_ACT_KILL" }, "159\n"],
      ["KILL_THREAD", { action: "SCMP_ACT_KILL_THREAD" }, "159\n"],
      ["KILL_PROCESS", { action: "SCMP_ACT_KILL_PROCESS" }, "159\n"],
      ["TRAP", { action: "SCMP_ACT_TRAP" }, "159\n"],
      ["ERRNO", { action: "SCMP_ACT_ERRNO" }, "Operation not permitted\n1\n"],
      ["ERRNO with errnoRet", { action: "SCMP_ACT_ERRNO", errnoRet: 28 }, "No space left on device\n1\n"],
      ["TRACE without a tracer", { action: "SCMP_ACT_TRACE", errnoRet: 7 }, "Function not implemented\n1\n"],
      ["LOG", { action: "SCMP_ACT_LOG" }, MADE],
      ["ALLOW", { action: "SCMP_ACT_ALLOW" }, MADE],
    ])("%s", async (_name, rule, expected) => {
      const { out } = await runtime.run(["run", "-b", bundle("mkdir /dev/shm/x 2>&1; echo $?", onMkdir(rule)), "act"]);
      expect(out.replace(/^.*: /, "").replace(/^Bad system call.*\n/, "")).toBe(expected);
    });
  });

  describe("an argument", () => {
    const script = `: > /dev/shm/f; for m in 600 640 644 700; do chmod $m /dev/shm/f 2>/dev/null && echo -n " $m"; done`;
    const [a, b, c] = [0o600, 0o640, 0o644];
    test.each<[string, object[][], string]>([
      ["NE", [[{ op: "NE", value: b }]], " 640"],
      ["LT", [[{ op: "LT", value: b }]], " 640 644 700"],
      ["LE", [[{ op: "LE", value: b }]], " 644 700"],
      ["EQ", [[{ op: "EQ", value: b }]], " 600 644 700"],
      ["GE", [[{ op: "GE", value: b }]], " 600"],
      ["GT", [[{ op: "GT", value: b }]], " 600 640"],
      ["MASKED_EQ", [[{ op: "MASKED_EQ", value: 0o44, valueTwo: 0o40 }]], " 600 644 700"],
      [
        "two of one call, both needed",
        [
          [
            { op: "GE", value: a },
            { index: 0, op: "EQ", value: 0 },
          ],
        ],
        " 600 640 644 700",
      ],
      ["two rules, either enough", [[{ op: "EQ", value: a }], [{ op: "EQ", value: c }]], " 640 700"],
    ])("%s", async (_name, rules, allowed) => {
      const syscalls = rules.map((args) => ({
        names: ["chmod"],
        action: "SCMP_ACT_ERRNO",
        args: args.map((arg) => ({ index: 1, ...arg, op: `SCMP_CMP_${(arg as { op: string }).op}` })),
      }));
      const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls };
      expect((await runtime.run(["run", "-b", bundle(script, profile), "args"])).out).toBe(allowed);
    });
  });

  test("an argument of 64 bits is compared exactly", async () => {
    const args = [{ index: 1, op: "SCMP_CMP_GE", value: 4711 }];
    const syscalls = [{ names: ["chmod"], action: "SCMP_ACT_ERRNO", args }];
    const path = bundle(": > /dev/shm/f; chmod 700 /dev/shm/f && echo changed", {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls,
    });
    const config = join(path, "config.json");
    // As a double it would be 2^64, which is 0.
    writeFileSync(config, readFileSync(config, "utf8").replace("4711", "18446744073709551615"));
    expect(await runtime.run(["run", "-b", path, "wide"])).toEqual({ code: 0, out: "changed\n", err: "" });
  });

  test.each<[string, object]>([
    ["flags absent", {}],
    ["no flags", { flags: [] }],
    ["TSYNC", { flags: ["SECCOMP_FILTER_FLAG_TSYNC"] }],
    ["LOG", { flags: ["SECCOMP_FILTER_FLAG_LOG"] }],
    ["SPEC_ALLOW", { flags: ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] }],
    ["WAIT_KILLABLE_RECV without a listener", { flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }],
    [
      "every architecture",
      { architectures: ["X86_64", "X86", "X32", "PARISC64", "SHEB"].map((n) => `SCMP_ARCH_${n}`) },
    ],
    ["defaultErrnoRet", { defaultAction: "SCMP_ACT_TRACE", defaultErrnoRet: 3, syscalls: allowAllBut("mkdir") }],
  ])("%s: installed", async (_name, profile) => {
    const seccomp = { ...onMkdir({ action: "SCMP_ACT_ERRNO" }), ...profile };
    for (const noNewPrivileges of [true, false]) {
      const script = "while read k v; do case $k in Seccomp*) echo $v;; esac; done < /proc/self/status";
      const { out, err } = await runtime.run(["run", "-b", bundle(script, seccomp, noNewPrivileges), "flags"]);
      expect({ out, err }).toEqual({ out: "2\n1\n", err: "" });
    }
  });

  test.each<[string, object]>([
    ['unknown value "SCMP_ACT_X"', { defaultAction: "SCMP_ACT_X" }],
    ['unknown value "SCMP_ARCH_Z80"', { architectures: ["SCMP_ARCH_Z80"] }],
    ['unknown value "SECCOMP_FILTER_FLAG_X"', { flags: ["SECCOMP_FILTER_FLAG_X"] }],
    ["SCMP_ACT_KILL takes no errno", { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_KILL", errnoRet: 1 }] }],
    ["SCMP_ACT_ALLOW takes no errno", { defaultErrnoRet: 1 }],
    ["names no system call", { syscalls: [{ names: [], action: "SCMP_ACT_KILL" }] }],
    [
      "6 is not a number from 0 to 5",
      { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_KILL", args: [{ index: 6, value: 0, op: "SCMP_CMP_EQ" }] }] },
    ],
    [
      'unknown value "SCMP_CMP_X"',
      { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_KILL", args: [{ index: 0, value: 0, op: "SCMP_CMP_X" }] }] },
    ],
    ["listenerMetadata: needs a listenerPath", { listenerMetadata: "x" }],
    ["listenerPath: is not an absolute path", { listenerPath: "agent" }],
    ["SCMP_ACT_NOTIFY needs a listenerPath", { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }] }],
    [
      "SCMP_ACT_NOTIFY cannot handle write",
      { syscalls: [{ names: ["write"], action: "SCMP_ACT_NOTIFY" }], listenerPath: "/x" },
    ],
    ["SCMP_ACT_NOTIFY cannot be the default action", { defaultAction: "SCMP_ACT_NOTIFY", listenerPath: "/x" }],
    [
      "unable to send seccomp fd to listenerPath /nowhere/agent: connect /nowhere/agent: ENOENT",
      { syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }], listenerPath: "/nowhere/agent" },
    ],
  ])("error: %s", async (message, profile) => {
    const path = bundle("true", { defaultAction: "SCMP_ACT_ALLOW", ...profile });
    const { code, err } = await runtime.run(["create", "-b", path, "wrong"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "wrong"))).toBe(false);
  });

  describe("SCMP_ACT_NOTIFY", () => {
    const notify = (agent: Agent, names: readonly string[], more: object = {}) => ({
      defaultAction: "SCMP_ACT_ALLOW",
      listenerPath: agent.path,
      syscalls: [{ names, action: "SCMP_ACT_NOTIFY" }],
      ...more,
    });

    test("create, start and exec: the agent gets the state and decides", async () => {
      await using agent = new Agent(runtime, { mkdir: 28 });
      expect(await agent.next()).toBe("listening");
      const path = runtime.bundle("mkdir /dev/shm/x 2> /dev/shm/error; exec sleep 1000", (s) => {
        s.linux.seccomp = notify(agent, ["mkdir"], { listenerMetadata: "meta data" }) as never;
        s.annotations = { "org.example": "1" };
      });
      await runtime.ok("create", "-b", path, "notify");
      const { pid } = await runtime.status("notify");
      const state = { ociVersion: "1.3.0", id: "notify", pid, bundle: path, annotations: { "org.example": "1" } };
      expect(await agent.state()).toEqual({
        ociVersion: "1.3.0",
        fds: ["seccompFd"],
        pid,
        metadata: "meta data",
        state: { ...state, status: "creating" },
      });
      await runtime.ok("start", "notify");
      expect(await agent.next()).toBe("refused mkdir");
      const exec = await runtime.run(["exec", "notify", "sh", "-c", "cat /dev/shm/error; mkdir /dev/shm/y"]);
      expect(exec).toMatchObject({ code: 1, err: expect.stringContaining("No space left on device") });
      expect(exec.out).toContain("No space left on device");
      const second = await agent.state();
      expect(second).toMatchObject({
        fds: ["seccompFd"],
        metadata: "meta data",
        state: { ...state, status: "running" },
      });
      expect(second.pid).not.toBe(pid);
      expect(await agent.next()).toBe("refused mkdir");
      // None of them gets away before its listener is taken.
      const more = await Promise.all(
        Array.from({ length: 8 }, () => runtime.run(["exec", "notify", "mkdir", "/dev/shm/z"])),
      );
      for (const { err } of more) expect(err).toContain("No space left on device");
      await runtime.ok("delete", "-f", "notify");
    });

    test("a startContainer hook is under it too, with a listener of its own", async () => {
      await using agent = new Agent(runtime, { mkdir: 28 });
      expect(await agent.next()).toBe("listening");
      const script = "mkdir /dev/shm/hook 2> /dev/shm/error; exit 0";
      const path = runtime.bundle("exec sleep 1000", (s) => {
        s.linux.seccomp = notify(agent, ["mkdir"]) as never;
        s.hooks = { startContainer: [{ path: "/bin/sh", args: ["sh", "-c", script] }] };
      });
      await runtime.ok("create", "-b", path, "hooked");
      const { pid } = await runtime.status("hooked");
      expect(await agent.state()).toMatchObject({ pid, state: { status: "creating" } });
      await runtime.ok("start", "hooked");
      expect(await agent.state()).toMatchObject({ state: { pid, status: "created" } });
      expect(await agent.next()).toBe("refused mkdir");
      expect(await runtime.ok("exec", "hooked", "cat", "/dev/shm/error")).toContain("No space left on device");
      await runtime.ok("delete", "-f", "hooked");
    });

    test.each([
      ["with no_new_privs", true, {}],
      ["without no_new_privs", false, {}],
      ["WAIT_KILLABLE_RECV", true, { flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }],
      ["TSYNC", true, { flags: ["SECCOMP_FILTER_FLAG_TSYNC"] }],
    ])("nearly every call is notified: %s", async (_name, noNewPrivileges, more) => {
      await using agent = new Agent(runtime, { mkdir: 28 });
      expect(await agent.next()).toBe("listening");
      const script = "mkdir /dev/shm/x; echo done";
      const path = bundle(script, notify(agent, NEARLY_EVERYTHING, more), noNewPrivileges);
      const run = await runtime.run(["run", "-b", path, "all"]);
      expect(run).toMatchObject({ code: 0, out: "done\n", err: expect.stringContaining("No space left on device") });
      await runtime.ok("create", "-b", path, "all");
      await runtime.ok("start", "all");
      await runtime.ok("delete", "-f", "all");
      const idle = bundle("sleep 1000", notify(agent, NEARLY_EVERYTHING, more), noNewPrivileges);
      await runtime.ok("run", "-d", "-b", idle, "all");
      expect((await runtime.run(["exec", "all", "sh", "-c", script])).out).toBe("done\n");
      expect((await runtime.run(["exec", "-d", "all", "sh", "-c", script])).code).toBe(0);
      await runtime.ok("delete", "-f", "all");
    });

    test("an agent that is gone makes create and exec fail, and leaves the container alone", async () => {
      let path: string;
      {
        await using agent = new Agent(runtime, {});
        expect(await agent.next()).toBe("listening");
        path = bundle("exec sleep 1000", notify(agent, ["mkdir"]));
        await runtime.ok("run", "-d", "-b", path, "left");
        await agent.state();
      }
      const exec = await runtime.run(["exec", "left", "true"]);
      expect(exec).toMatchObject({ code: 255, err: expect.stringContaining("unable to send seccomp fd") });
      expect(await runtime.status("left")).toMatchObject({ status: "running" });
      const create = await runtime.run(["create", "-b", path, "left2"]);
      expect(create).toMatchObject({ code: 1, err: expect.stringContaining("ECONNREFUSED") });
      expect(existsSync(join(runtime.root, "left2"))).toBe(false);
      await runtime.ok("delete", "-f", "left");
    });
  });
});

function allowAllBut(...without: string[]) {
  const names = [...NEARLY_EVERYTHING, "write"].filter((name) => !without.includes(name));
  return [{ names, action: "SCMP_ACT_ALLOW" }];
}
