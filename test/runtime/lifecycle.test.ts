import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cannotRun, eventually, Runtime } from "./bundle.ts";

describe.skipIf(cannotRun !== undefined)(`life cycle${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(() => runtime.close());

  test("create, start, kill, delete", async () => {
    const bundle = runtime.bundle("echo started > /dev/shm/x; exec sleep 1000");
    const pidFile = join(runtime.dir, "pid");
    await runtime.ok("create", "--bundle", bundle, "--pid-file", pidFile, "life");
    const created = await runtime.status("life");
    expect(created).toMatchObject({ ociVersion: "1.3.0", id: "life", status: "created", bundle, owner: "" });
    expect(String(created.pid)).toBe(readFileSync(pidFile, "utf8"));
    expect(readFileSync(`/proc/${created.pid}/comm`, "utf8")).not.toBe("sh\n");
    // The caller of create is its parent by now: nobody of ours is left.
    expect(existsSync(join(runtime.root, "life/exec.fifo"))).toBe(true);

    await runtime.ok("start", "life");
    expect(await runtime.status("life")).toMatchObject({ status: "running", pid: created.pid });
    expect(existsSync(join(runtime.root, "life/exec.fifo"))).toBe(false);
    await eventually("sleep runs", () => readFileSync(`/proc/${created.pid}/comm`, "utf8") === "sleep\n");
    expect(JSON.parse(await runtime.ok("ps", "--format", "json", "life"))).toEqual([created.pid]);
    expect(await runtime.ok("list", "-q")).toContain("life\n");

    await runtime.ok("kill", "life", "KILL");
    await eventually("stopped", async () => (await runtime.status("life")).status === "stopped");
    expect(await runtime.status("life")).toMatchObject({ pid: 0 });
    await runtime.ok("delete", "life");
    expect((await runtime.run(["state", "life"])).err).toContain("container does not exist");
    expect(
      existsSync("/sys/fs/cgroup/unified/inro-runtime/life") || existsSync("/sys/fs/cgroup/inro-runtime/life"),
    ).toBe(false);
  });

  test("run: exit status, output, nothing left", async () => {
    const bundle = runtime.bundle("cat; echo out; echo err >&2; exit 7");
    const result = await runtime.run(["run", "-b", bundle, "run1"], { stdin: "in\n" });
    expect(result).toEqual({ code: 7, out: "in\nout\n", err: "err\n" });
    expect(existsSync(join(runtime.root, "run1"))).toBe(false);
    const host = runtime.bundle("kill -9 $$", (spec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "pid") ?? [];
    });
    expect((await runtime.run(["run", "-b", host, "run2"])).code).toBe(137);
  });

  test("run passes signals on", async () => {
    const bundle = runtime.bundle("trap 'echo got; exit 9' USR1; echo up > /dev/shm/up; while :; do sleep 1; done");
    const child = runtime.spawn(["run", "-b", bundle, "sig"], ["ignore", "pipe", "inherit"]);
    await eventually("trap is set", async () => {
      const state = await runtime.run(["exec", "sig", "cat", "/dev/shm/up"]);
      return state.out === "up\n";
    });
    child.kill("SIGUSR1");
    expect(await new Response(child.stdout as ReadableStream).text()).toBe("got\n");
    expect(await child.exited).toBe(9);
  });

  test("run --detach leaves it running", async () => {
    const bundle = runtime.bundle("sleep 1000");
    await runtime.ok("run", "--detach", "--bundle", bundle, "detached");
    expect(await runtime.status("detached")).toMatchObject({ status: "running" });
    await runtime.ok("delete", "--force", "detached");
    expect(existsSync(join(runtime.root, "detached"))).toBe(false);
    // Of one that is not there, force asks nothing.
    await runtime.ok("delete", "--force", "detached");
  });

  test("wrong at the wrong time", async () => {
    const bundle = runtime.bundle("sleep 1000");
    const says = async (message: string, ...args: string[]) => {
      const { code, err } = await runtime.run(args);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    };
    await runtime.ok("create", "-b", bundle, "once");
    await says("container with given ID already exists", "create", "-b", bundle, "once");
    await says("container does not exist", "start", "other");
    await says("container does not exist", "kill", "other");
    await says("container does not exist", "delete", "other");
    await says("invalid container ID format: ../x", "create", "-b", bundle, "../x");
    await says("wants exactly 1 argument, has 0", "start");
    await says("container not paused", "resume", "once");
    await runtime.ok("start", "once");
    await says("cannot start an already running container", "start", "once");
    await says("cannot delete container once that is not stopped: running", "delete", "once");
    expect((await runtime.status("once")).status).toBe("running");
    await says('unknown signal "NOPE"', "kill", "once", "NOPE");
    await runtime.ok("kill", "once", "9");
    await eventually("stopped", async () => (await runtime.status("once")).status === "stopped");
    await says("container not running", "kill", "once");
    await runtime.ok("kill", "--all", "once");
    await says("cannot start a container that has stopped", "start", "once");
    await runtime.ok("delete", "once");
  });

  test("a created container that is deleted ends", async () => {
    await runtime.ok("create", "-b", runtime.bundle("sleep 1000"), "unborn");
    const { pid } = await runtime.status("unborn");
    await runtime.ok("delete", "unborn");
    await eventually(
      "gone",
      () => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "),
    );
  });

  test("edits to the bundle after create have no effect", async () => {
    const bundle = runtime.bundle("echo first");
    const out = join(runtime.dir, "edit");
    const fd = openSync(out, "w");
    expect(await runtime.spawn(["create", "-b", bundle, "edit"], ["ignore", fd, "inherit"]).exited).toBe(0);
    closeSync(fd);
    const config = join(bundle, "config.json");
    writeFileSync(config, readFileSync(config, "utf8").replace("echo first", "echo second"));
    await runtime.ok("start", "edit");
    await eventually("stopped", async () => (await runtime.status("edit")).status === "stopped");
    // It kept create's stdout.
    expect(readFileSync(out, "utf8")).toBe("first\n");
    await runtime.ok("delete", "edit");
  });

  test("pause and resume", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "pause");
    await runtime.ok("pause", "pause");
    expect((await runtime.status("pause")).status).toBe("paused");
    const { code, err } = await runtime.run(["exec", "pause", "true"]);
    expect({ code, err }).toEqual({ code: 255, err: expect.stringContaining("cannot exec in a paused container") });
    await runtime.ok("resume", "pause");
    expect((await runtime.status("pause")).status).toBe("running");
    await runtime.ok("pause", "pause");
    await runtime.ok("delete", "--force", "pause");
  });

  test.each([
    ["nope", 'exec: "nope": executable file not found in $PATH'],
    ["/bin/nope", 'exec: "/bin/nope": stat /bin/nope: no such file or directory'],
  ])("create says that %s is missing, and leaves nothing", async (command, message) => {
    const bundle = runtime.bundle("", (spec) => {
      spec.process.args = [command];
    });
    const log = join(runtime.dir, `log-${command.length}`);
    const { code, err } = await runtime.run(["--log", log, "--log-format", "json", "create", "-b", bundle, "missing"]);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(JSON.parse(readFileSync(log, "utf8").trim())).toEqual({
      level: "error",
      msg: expect.stringContaining(message),
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
    expect(existsSync(join(runtime.root, "missing"))).toBe(false);
  });

  test("what only execve can tell is an error of start", async () => {
    const bundle = runtime.bundle("", (spec) => {
      spec.process.args = ["/bin"];
    });
    await runtime.ok("create", "-b", bundle, "directory");
    const { code, err } = await runtime.run(["start", "directory"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('exec: "/bin": permission denied') });
    expect((await runtime.status("directory")).status).toBe("stopped");
    await runtime.ok("delete", "directory");
  });

  test("of several creates with one id, one wins", async () => {
    const bundle = runtime.bundle("sleep 1000");
    const spawn = () => runtime.spawn(["create", "-b", bundle, "race"], ["ignore", "ignore", "ignore"]).exited;
    const codes = await Promise.all([spawn(), spawn(), spawn()]);
    expect(codes.sort()).toEqual([0, 1, 1]);
    expect((await runtime.status("race")).status).toBe("created");
    await runtime.ok("delete", "race");
  });
});
