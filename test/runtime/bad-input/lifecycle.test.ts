import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkId } from "../../../src/runtime/oci/state.ts";
import { cannotRun, eventually, Runtime } from "../bundle.ts";
import { lastError, Traces } from "./traces.ts";

test.each([
  "",
  ".",
  "..",
  "a/b",
  "/a",
  "../x",
  "a\0b",
  "a b",
  "a\n",
  "\u00e4",
  "\ud83d\ude00",
  "a:b",
  "*",
  "x".repeat(256),
])("%j is no id", (id) => {
  expect(() => checkId(id)).toThrow("invalid container ID format");
});

test.each(["a", "A.b_c+d-e", "...", "9", "x".repeat(255)])("%j is one", (id) => checkId(id));

describe.skipIf(cannotRun !== undefined)(`wrong at this time${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let log: string;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "wrong");
    log = join(runtime.dir, "log");
  });
  afterAll(() => runtime.close());

  const sleeper = () => runtime.bundle("exec sleep 1000");

  /** The command fails with these words, on stderr and as runc's JSON. */
  async function fails(words: string | RegExp, ...args: string[]): Promise<void> {
    rmSync(log, { force: true });
    const result = await runtime.run(["--log", log, "--log-format", "json", ...args]);
    expect({ args, ...result }).toEqual({
      args,
      code: args[0] === "exec" ? 255 : 1,
      out: "",
      err: expect.stringMatching(words),
    });
    expect(lastError(log)).toMatch(words);
  }

  const stopped = (id: string) =>
    eventually(`${id} stops`, async () => (await runtime.status(id)).status === "stopped");

  test("ids that are none make nothing, anywhere", async () => {
    const bundle = sleeper();
    for (const id of ["../escape", "a/b", "..", ".", "", "x".repeat(256), "\u00e4"]) {
      for (const command of [
        ["create", "-b", bundle],
        ["run", "-b", bundle],
        ["state"],
        ["delete", "--force"],
        ["kill"],
      ]) {
        await fails("invalid container ID format", ...command, id);
      }
    }
    await traces.settle();
  }, 60_000);

  test("each command in each state that is not its own", async () => {
    const id = traces.id("states");
    for (const command of ["state", "start", "kill", "delete", "pause", "resume", "ps"]) {
      await fails("container does not exist", command, id);
    }
    await fails("container does not exist", "exec", id, "true");

    await runtime.ok("create", "-b", sleeper(), id);
    await fails("container not paused", "resume", id);
    await fails("already exists", "create", "-b", sleeper(), id);
    await fails("already exists", "run", "-b", sleeper(), id);
    expect(await runtime.status(id)).toMatchObject({ status: "created" });
    // As with runc, in one that waits for its start another process may run.
    expect(await runtime.run(["exec", id, "echo", "in"])).toMatchObject({ code: 0, out: "in\n" });

    await runtime.ok("start", id);
    await fails("cannot start an already running container", "start", id);
    await fails("not stopped: running", "delete", id);
    await fails("already exists", "create", "-b", sleeper(), id);

    await runtime.ok("pause", id);
    await fails("cannot exec in a paused container", "exec", id, "true");
    await fails(/not stopped|paused/, "delete", id);
    await fails(/cannot start/, "start", id);
    await runtime.ok("resume", id);

    await runtime.ok("kill", id, "KILL");
    await stopped(id);
    await fails("cannot start a container that has stopped", "start", id);
    await fails("container not running", "kill", id, "TERM");
    await fails("container not running", "kill", id, "KILL");
    await fails("cannot exec in a stopped container", "exec", id, "true");
    await fails("container not running", "pause", id);
    await fails("container not running", "resume", id);
    await fails("already exists", "create", "-b", sleeper(), id);
    await runtime.ok("delete", id);
    await traces.settle();
    // The id is free again.
    expect(await runtime.run(["run", "-b", runtime.bundle("echo again"), id])).toMatchObject({
      code: 0,
      out: "again\n",
    });
    await traces.settle();
  }, 60_000);

  test("of 20 creates of one id at once, one wins", async () => {
    const id = traces.id("race");
    const bundle = sleeper();
    const codes = await Promise.all(
      Array.from({ length: 20 }, () =>
        runtime.run(["create", "-b", bundle, id]).then(({ code, err }) => ({ code, err })),
      ),
    );
    expect(codes.filter(({ code }) => code === 0)).toHaveLength(1);
    for (const { code, err } of codes) if (code !== 0) expect(err).toContain("container with given ID already exists");
    expect((await runtime.status(id)).status).toBe("created");
    await runtime.ok("start", id);
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  }, 60_000);

  test("of 8 starts at once one wins, and its hooks run once", async () => {
    const id = traces.id("starts");
    const bundle = runtime.bundle("exec sleep 1000", (s) => {
      s.hooks = { startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "echo ran >> /hooks"] }] };
      s.root!.readonly = false;
    });
    await runtime.ok("create", "-b", bundle, id);
    const results = await Promise.all(Array.from({ length: 8 }, () => runtime.run(["start", id])));
    expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
    for (const { code, err } of results) if (code !== 0) expect(err).toMatch(/cannot start/);
    expect(readFileSync(join(bundle, "rootfs/hooks"), "utf8")).toBe("ran\n");
    expect((await runtime.status(id)).status).toBe("running");
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  }, 60_000);

  test("creates and deletes of many ids at once stay apart", async () => {
    const bundle = sleeper();
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const id = traces.id(`many${i}`);
        for (let round = 0; round < 3; round++) {
          await runtime.ok("create", "-b", bundle, id);
          await runtime.ok("delete", "--force", id);
        }
      }),
    );
    await traces.settle();
  }, 120_000);

  test("what a kill is not", async () => {
    const id = traces.id("kill");
    await runtime.ok("create", "-b", sleeper(), id);
    for (const signal of ["NOPE", "SIG", "", "-1", "65", "99999999999999999999", "1.5", "SIGRTMIN+99", "9 9"]) {
      await fails(/unknown signal|flag provided but not defined/, "kill", id, signal);
    }
    expect((await runtime.status(id)).status).toBe("created");
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  }, 60_000);

  test("exec that cannot be", async () => {
    const id = traces.id("exec");
    await runtime.ok("run", "-d", "-b", sleeper(), id);
    const file = (value: unknown) => {
      const path = join(runtime.dir, "process.json");
      writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
      return path;
    };
    const right = { cwd: "/", args: ["true"], user: { uid: 0, gid: 0 } };
    await fails("process args cannot be empty", "exec", id);
    await fails("executable file not found in $PATH", "exec", id, "nope");
    await fails("no such file or directory", "exec", id, "/nope");
    await fails("--user", "exec", "--user", "root", id, "true");
    await fails("--additional-gids", "exec", "-g", "wheel", id, "true");
    await fails("process.env", "exec", "--env", "novalue", id, "true");
    await fails("process.cwd", "exec", "--cwd", "tmp", id, "true");
    await fails(/ENOENT/, "exec", "--cwd", "/nowhere", id, "true");
    await fails("--process", "exec", "--process", "/nowhere", id);
    await fails("--process", "exec", "--process", file("{"), id);
    await fails("process", "exec", "--process", file([]), id);
    await fails("process.cwd: required", "exec", "--process", file({ ...right, cwd: undefined }), id);
    await fails("process.args", "exec", "--process", file({ ...right, args: [] }), id);
    await fails("has a NUL", "exec", "--process", file({ ...right, args: ["a\0"] }), id);
    await fails("process.user.uid", "exec", "--process", file({ ...right, user: { uid: "0", gid: 0 } }), id);
    await fails("--pid-file", "exec", "-d", "--pid-file", "/nowhere/pid", id, "sleep", "1000");
    await fails(/console-socket/, "exec", "-d", "-t", id, "true");
    await fails(/EBADF|not open/, "exec", "--preserve-fds", "9", id, "true");
    expect((await runtime.status(id)).status).toBe("running");
    expect(JSON.parse(await runtime.ok("ps", "--format", "json", id))).toHaveLength(1);
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  }, 60_000);

  test("flags that are none", async () => {
    for (const [words, ...args] of [
      ["flag provided but not defined", "create", "--nope", "x"],
      ["flag needs an argument", "create", "--bundle"],
      ["wants exactly 1 argument", "create"],
      ["wants exactly 1 argument", "create", "a", "b"],
      ["no such command", "creat", "x"],
      ["is no number", "create", "--preserve-fds", "-1", "x"],
    ] as const) {
      const { code, err } = await runtime.run(args);
      expect({ args, code, err }).toEqual({ args, code: 1, err: expect.stringContaining(words) });
    }
    for (const args of [
      ["--log-format", "xml"],
      ["--root", "/"],
      ["--root", ""],
      ["--rootless", "maybe"],
    ]) {
      const { code } = await runtime.run([...args, "list"]);
      expect({ args, code }).toEqual({ args, code: 1 });
    }
  });
});
