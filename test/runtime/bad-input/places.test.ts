import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../../src/linux/call.ts";
import * as k from "../../../src/linux/constants.ts";
import { room, scratch } from "../../../src/linux/ffi.ts";
import { close, mknodat } from "../../../src/linux/file.ts";
import { connectUnix } from "../../../src/linux/unix-socket.ts";
import { cannotRun, Runtime } from "../bundle.ts";
import { Traces } from "./traces.ts";

const main = join(import.meta.dir, "../../../src/main.ts");

/** Places on the host that cannot be written, are full, closed, or something else than what they are taken for. */
describe.skipIf(cannotRun !== undefined)(`bad places${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let bundle: string;
  let terminal: string;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "places");
    bundle = runtime.bundle("exec sleep 1000");
    terminal = runtime.bundle("exec sleep 1000", (s) => {
      s.process.terminal = true;
    });
  });
  afterAll(() => runtime.close());

  const at = (name: string) => join(runtime.dir, name);

  const names = () => readdirSync(runtime.dir).filter((name) => !/^(out|err)\d|^state$/.test(name));
  async function refused(words: RegExp, ...args: string[]): Promise<void> {
    const before = names();
    const id = traces.id("x");
    const { code, err } = await runtime.run([...args, id]);
    if (code === 0) await runtime.run([...args.slice(0, args.indexOf("create")), "delete", "--force", id]);
    expect({ args, code, err }).toEqual({ args, code: 1, err: expect.stringMatching(words) });
    expect(names()).toEqual(before);
    await traces.settle();
  }

  /** A small file system of the test's own. */
  async function onTmpfs(options: string, run: (path: string) => Promise<void>): Promise<void> {
    const path = at("tmpfs");
    mkdirSync(path);
    const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path]);
    if (exitCode !== 0) throw new Error(stderr.toString());
    try {
      await run(path);
    } finally {
      Bun.spawnSync(["umount", path]);
      rmSync(path, { recursive: true });
    }
  }

  test("--root that is a file, full, read-only, without inodes", async () => {
    writeFileSync(at("file"), "");
    symlinkSync("nowhere/at/all", at("dangling"));
    const create = ["create", "-b", bundle];
    await refused(/EEXIST|ENOTDIR/, "--root", at("file"), ...create);
    await refused(/ENOTDIR/, "--root", at("file/below"), ...create);
    await refused(/EEXIST|ENOENT/, "--root", at("dangling"), ...create);
    await refused(/"" is no directory/, "--root", "", ...create);
    await refused(/"\/" is no directory/, "--root", "/", ...create);
    for (const options of ["size=4k", "size=8k", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "nr_inodes=5", "ro"]) {
      await onTmpfs(options, async (root) => {
        const id = traces.id("full");
        const { code, err } = await runtime.run(["--root", root, ...create, id]);
        expect({ options, code, err }).toEqual({ options, code: 1, err: expect.stringMatching(/ENOSPC|EROFS/) });
        expect(readdirSync(root)).toEqual([]);
        await traces.settle(traces.now().filter((trace) => trace.startsWith("mount")));
      });
    }
  }, 120_000);

  test("--pid-file", async () => {
    mkdirSync(at("pids/directory"), { recursive: true });
    writeFileSync(at("target"), "untouched");
    const create = ["create", "-b", bundle, "--pid-file"];
    await refused(/--pid-file: ENOENT/, ...create, at("nowhere/pid"));
    await refused(/--pid-file: .*(EISDIR|ENOTEMPTY|EEXIST)/, ...create, at("pids/directory"));
    await refused(/--pid-file: ENOTDIR/, ...create, at("target/pid"));
    await refused(/--pid-file: EACCES|--pid-file: ENOENT|--pid-file: EPERM/, ...create, "/proc/pid");
    expect(readdirSync(at("pids"))).toEqual(["directory"]);
    // A link that waits in its place is replaced, not followed.
    symlinkSync(at("target"), at("pids/link"));
    await runtime.ok(...create, at("pids/link"), traces.id("link"));
    expect(readFileSync(at("target"), "utf8")).toBe("untouched");
    expect(readFileSync(at("pids/link"), "utf8")).toBe(String((await runtime.status(traces.id("link"))).pid));
    await runtime.ok("delete", traces.id("link"));
    await traces.settle();
  }, 60_000);

  test("--log", async () => {
    mknodat(k.AT_FDCWD, at("log-fifo"), k.S_IFIFO | 0o600, 0);
    mkdirSync(at("log-dir"));
    const create = ["create", "-b", bundle];
    await refused(/--log: ENOENT/, "--log", at("nowhere/log"), ...create);
    await refused(/--log: EISDIR/, "--log", at("log-dir"), ...create);
    await refused(/--log: ENXIO/, "--log", at("log-fifo"), ...create);
    await refused(/--log: ENOENT/, "--log", "", ...create);
  }, 60_000);

  test("--log: runc's lines, in both forms", async () => {
    const wrong = runtime.bundle("", (s) => {
      s.process.cwd = 'a "quoted"\nname';
    });
    const message = 'config.json: process.cwd: must be an absolute path, is a "quoted"\nname';
    for (const format of ["json", "text"]) {
      const log = at(`lines-${format}`);
      writeFileSync(log, "before\n");
      const { err } = await runtime.run(["--log", log, "--log-format", format, "create", "-b", wrong, traces.id("l")]);
      expect(err).toContain(message);
      const [first, line = "", rest] = readFileSync(log, "utf8").split("\n");
      expect([first, rest]).toEqual(["before", ""]);
      const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      if (format === "json") expect(JSON.parse(line)).toEqual({ level: "error", msg: message, time });
      else {
        const [, when, level, msg] = /^time="([^"]+)" level=(\w+) msg=(".*")$/.exec(line) ?? [];
        expect([when, level, JSON.parse(msg ?? "null")]).toEqual([time, "error", message]);
      }
    }
    // Nothing to say, and the file is there, as a reader of it expects.
    await runtime.ok("--log", at("quiet"), "list");
    expect(readFileSync(at("quiet"), "utf8")).toBe("");
  }, 60_000);

  test("--console-socket", async () => {
    writeFileSync(at("no-socket"), "");
    const create = ["create", "-b", terminal, "--console-socket"];
    await refused(/ENOENT/, ...create, at("nowhere"));
    await refused(/ECONNREFUSED|ENOTSOCK/, ...create, at("no-socket"));
    await refused(/at most 107 bytes/, ...create, at("x".repeat(120)));
    await refused(/ECONNREFUSED|EISDIR|EACCES/, ...create, runtime.dir);
    // Nobody accepts, and the queue is full.
    const deaf = listen(at("deaf"), 0);
    const queued = connectUnix(at("deaf"));
    await refused(/EAGAIN/, ...create, at("deaf"));
    close(queued);
    close(deaf);
    await refused(/ECONNREFUSED/, ...create, at("deaf"));
  }, 60_000);

  test("--console-socket that is closed before the terminal comes", async () => {
    // Between the connection and the sending lie a clone and all mounts; here the other side goes in between.
    const path = at("rude");
    const server = listen(path, 8);
    const id = traces.id("rude");
    const child = runtime.spawn(["create", "-b", terminal, "--console-socket", path, id], ["ignore", "ignore", "pipe"]);
    const connection = sys("accept4", "", server, 0, 0, k.SOCK_CLOEXEC);
    close(connection);
    const err = await new Response(child.stderr as ReadableStream).text();
    const code = await child.exited;
    close(server);
    // Or it was quicker than we were: then it is there, and whole.
    if (code === 0) await runtime.ok("delete", id);
    else expect(err).toMatch(/EPIPE|ECONNRESET|killed/);
    await traces.settle();
  }, 60_000);

  test.each(["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])(
    "descriptors that are not open: %s",
    async (closed) => {
      const id = traces.id("fds");
      const target = runtime.bundle("ls -l /proc/self/fd > /fds 2>&1; exit 0", (s) => {
        s.root!.readonly = false;
      });
      const command = [process.execPath, main, "--root", runtime.root];
      const run = (args: string[]) =>
        Bun.spawn(["/bin/busybox", "sh", "-c", `exec "$@" ${closed}`, "sh", ...command, ...args], {
          env: { ...process.env, INRO_DOOR: "inro-runtime" },
          stdio: ["ignore", "ignore", "ignore"],
        }).exited;
      expect(await run(["run", "-b", target, id])).toBe(0);
      const seen = readFileSync(join(target, "rootfs/fds"), "utf8");
      // Nothing of the runtime's own has taken one of the three numbers.
      expect(seen).not.toMatch(/memfd|inro|state|\.json|\.ts|cgroup|anon_inode/);
      expect(await run(["create", "-b", bundle, id])).toBe(0);
      expect(await run(["start", id])).toBe(0);
      expect(await run(["exec", id, "sh", "-c", "test ! -e /proc/self/fd/9"])).toBe(0);
      expect(await run(["delete", "--force", id])).toBe(0);
      await traces.settle();
    },
    60_000,
  );

  test("--preserve-fds of what is not open", async () => {
    await refused(/EBADF/, "create", "-b", bundle, "--preserve-fds", "5");
    await refused(/EBADF|more than|is no number/, "create", "-b", bundle, "--preserve-fds", "999999");
    await traces.settle();
  }, 60_000);

  function listen(path: string, backlog: number): number {
    const fd = sys("socket", "", k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC, 0);
    scratch(() => {
      const address = room(110);
      address.view.writeUInt16LE(k.AF_UNIX, 0);
      address.view.write(path, 2);
      sys("bind", path, fd, address.address, 2 + Buffer.byteLength(path) + 1);
    });
    sys("listen", path, fd, backlog);
    return fd;
  }
});
