import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { userName } from "../../../src/linux/rights.ts";
import type { Hooks } from "../../../src/spec/oci-runtime.ts";
import { eventually } from "../bundle.ts";
import { asRoot, cannotRun, PlainRuntime, UID } from "./user.ts";

describe.skipIf(cannotRun !== undefined)(`rootless${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: PlainRuntime;
  beforeAll(() => {
    runtime = new PlainRuntime();
  });
  afterAll(() => runtime.close());
  const stopped = (id: string) =>
    eventually(`${id} stops`, async () => (await runtime.status(id)).status === "stopped");

  test("run: root inside, the user outside, nothing left", async () => {
    const bundle = runtime.bundle(
      "id -u; cat /proc/self/uid_map /proc/self/setgroups; hostname; echo x > /dev/null; touch /made; cat; exit 7",
      (s) => {
        s.root!.readonly = false;
      },
    );
    const { code, out, err } = await runtime.run(["run", "-b", bundle, "run"], { stdin: "in\n" });
    expect({ code, err, out: out.split(/\s+/) }).toEqual({
      code: 7,
      err: "",
      out: ["0", "0", String(UID), "1", "deny", "inro", "in", ""],
    });
    expect(statSync(join(bundle, "rootfs/made")).uid).toBe(UID);
    expect(readdirSync(runtime.root).filter((name) => name !== "seccomp@cache")).toEqual([]);
  });

  test("create, exec, start, exec, state, list, ps, kill, delete", async () => {
    const bundle = runtime.bundle("echo up > /dev/shm/up; exec sleep 1000");
    const pidFile = join(runtime.runDir, "pid");
    await runtime.ok("create", "-b", bundle, "--pid-file", pidFile, "life");
    const { pid } = await runtime.status("life");
    expect(readFileSync(pidFile, "utf8")).toBe(String(pid));
    expect(statSync(`/proc/${pid}`).uid).toBe(UID);
    expect((await runtime.run(["exec", "life", "id", "-u"])).out).toBe("0\n");
    await runtime.ok("start", "life");
    expect((await runtime.status("life")).status).toBe("running");
    await eventually("sleep runs", () => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");

    const status = await runtime.run(["exec", "life", "sh", "-c", "cat /proc/self/status /dev/shm/up; exit 6"]);
    expect(status.code).toBe(6);
    expect(status.out).toContain("CapEff:\t0000000020000420");
    expect(status.out).toEndWith("up\n");
    expect(await runtime.run(["exec", "--tty", "life", "test", "-t", "0"])).toEqual({ code: 0, out: "", err: "" });
    const second = join(runtime.runDir, "second");
    await runtime.ok("exec", "--detach", "--pid-file", second, "life", "sleep", "1000");
    const detached = Number(readFileSync(second, "utf8"));
    const pids: number[] = JSON.parse(await runtime.ok("ps", "--format", "json", "life"));
    expect(pids.sort()).toEqual([pid, detached].sort());
    expect(await runtime.ok("ps", "life")).toContain("sleep 1000");
    expect(await runtime.ok("list")).toMatch(/^life +\d+ +running .* (#\d+|\w+)\n/m);
    const [listed] = JSON.parse(await runtime.ok("list", "--format", "json"));
    expect(listed.owner).toBe(userName(UID) ?? `#${UID}`);

    await runtime.ok("kill", "--all", "life", "TERM");
    await eventually(
      "the second ends",
      async () => (await runtime.ok("ps", "--format", "json", "life")) === `[${pid}]\n`,
    );
    await runtime.ok("kill", "life", "KILL");
    await stopped("life");
    await runtime.ok("delete", "life");
    expect(existsSync(join(runtime.root, "life"))).toBe(false);
  });

  test("delete --force of one that runs, and of one that never started", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "forced");
    const { pid } = await runtime.status("forced");
    await runtime.ok("delete", "--force", "forced");
    await eventually("it has ended", () => !existsSync(`/proc/${pid}/root`));
    await runtime.ok("create", "-b", runtime.bundle("true"), "unborn");
    await runtime.ok("delete", "unborn");
    // What a create that was killed left behind.
    mkdirSync(join(runtime.root, "half"));
    await runtime.ok("delete", "--force", "half");
    expect(existsSync(join(runtime.root, "half"))).toBe(false);
  });

  test("hooks run in their order, inside and outside", async () => {
    const log = join(runtime.runDir, "hooks");
    const script = join(runtime.runDir, "hook.sh");
    writeFileSync(script, `#!/bin/sh\nread -r state\necho "$1 $(hostname) $(id -u)" >> ${log}\n`, { mode: 0o755 });
    const bundle = runtime.bundle("exec sleep 1000", (s) => {
      s.root!.readonly = false;
      const hooks: Hooks = {
        startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "hostname > /started; id -u >> /started"] }],
      };
      for (const kind of ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] as const) {
        hooks[kind] = [{ path: script, args: ["hook", kind], env: ["PATH=/bin:/usr/bin"] }];
      }
      s.hooks = hooks;
    });
    await runtime.ok("create", "-b", bundle, "hooks");
    await runtime.ok("start", "hooks");
    await runtime.ok("delete", "--force", "hooks");
    const lines = readFileSync(log, "utf8").trim().split("\n");
    expect(lines.map((line) => line.split(" ")[0])).toEqual([
      "prestart",
      "createRuntime",
      "createContainer",
      "poststart",
      "poststop",
    ]);
    expect(lines[1]).toEndWith(` ${UID}`);
    expect(lines[2]).toBe("createContainer inro 0");
    expect(readFileSync(join(bundle, "rootfs/started"), "utf8")).toBe("inro\n0\n");
  });

  test.each([
    ["nope", "executable file not found in $PATH"],
    ["/bin/nope", "stat /bin/nope: no such file or directory"],
  ])("create says that %s is missing, and leaves nothing", async (command, message) => {
    const bundle = runtime.bundle("", (s) => {
      s.process.args = [command];
    });
    const { code, err } = await runtime.run(["create", "-b", bundle, "missing"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "missing"))).toBe(false);
  });

  test("another user of the container's namespaces finds nothing to trace: a joined one is not traceable", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("exec sleep 1000"), "first");
    const { pid } = await runtime.status("first");
    const joined = runtime.bundle("hostname; readlink /proc/self/ns/user /proc/self/ns/net; exec sleep 1000", (s) => {
      s.hostname = "second";
      s.linux.uidMappings = [];
      s.linux.gidMappings = [];
      s.linux.namespaces = [
        { type: "user", path: `/proc/${pid}/ns/user` },
        { type: "ipc", path: `/proc/${pid}/ns/ipc` },
        { type: "pid", path: `/proc/${pid}/ns/pid` },
        { type: "mount" },
        { type: "uts" },
      ];
    });
    await runtime.ok("create", "-b", joined, "second");
    const second = await runtime.status("second");
    // Not yet executed, it holds descriptors of ours: the first one's processes may not look (CVE-2016-9962).
    const look = await runtime.run(["exec", "first", "sh", "-c", "cat /proc/2/comm; ls /proc/2/fd"]);
    expect(look).toEqual({ code: 1, out: "inro-keeper\n", err: expect.stringContaining("Permission denied") });
    await runtime.ok("start", "second");
    for (const type of ["user", "ipc", "pid"]) {
      const inode = (of: number) => statSync(`/proc/${of}/ns/${type}`).ino;
      if (asRoot) expect(inode(second.pid)).toBe(inode(pid));
    }
    expect(await runtime.run(["exec", "second", "hostname"])).toMatchObject({ out: "second\n" });
    await runtime.ok("delete", "--force", "second");
    await runtime.ok("delete", "--force", "first");
  });
});
