import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { close, writeAll } from "../../src/linux/file.ts";
import { pipe } from "../../src/linux/process.ts";
import { cannotRun, eventually, Runtime } from "../runtime/bundle.ts";
import { ConsoleSocket, readTerminal } from "../runtime/console-socket.ts";
import { cannotCheckpoint } from "./criu.ts";

/** Counts in its memory and tells a tmpfs. */
const COUNT = "i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; sleep 0.05; done";

describe.skipIf(cannotRun !== undefined)(`checkpoint: errors${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = new Runtime();
    await runtime.ok("run", "-d", "-b", runtime.bundle("exec sleep 1000"), "running");
    await runtime.ok("create", "-b", runtime.bundle("true"), "created");
    mkdirSync(join(runtime.dir, "empty"));
    mkdirSync(join(runtime.dir, "broken"));
    writeFileSync(join(runtime.dir, "broken/descriptors.json"), '["/dev/null","/dev/null","/dev/null"]');
  });
  afterAll(() => runtime.close());

  const terminal = () => runtime.bundle("true", (spec) => Object.assign(spec.process, { terminal: true }));
  const plain = () => runtime.bundle("true");
  const at = (name: string) => ["--image-path", join(runtime.dir, name)];
  const cases: [what: string, args: () => string[], message: string][] = [
    ["no such container", () => ["checkpoint", "other"], "container does not exist"],
    ["one that is not running", () => ["checkpoint", ...at("x"), "created"], "cannot be checkpointed in created state"],
    ["cgroup mode", () => ["checkpoint", "--manage-cgroups-mode", "x", "running"], '"x" is not soft, full, strict'],
    ["namespace", () => ["checkpoint", "--empty-ns", "pid", "running"], 'namespace "pid" is not supported'],
    ["page server", () => ["checkpoint", "--page-server", "x", "running"], "must be ADDRESS:PORT"],
    ["lazy pages", () => ["checkpoint", "--lazy-pages", "running"], "--page-server"],
    ["parent", () => ["checkpoint", ...at("x"), "--parent-path", "/x", "running"], "must be relative"],
    ["parent", () => ["checkpoint", ...at("x"), "--parent-path", "../no", "running"], "is no directory"],
    ["status fd", () => ["checkpoint", "--lazy-pages", "--status-fd", "77", "running"], "77: it is not open"],
    ["no images", () => ["restore", ...at("empty"), "-b", plain(), "new"], "no checkpoint in"],
    ["no directory", () => ["restore", ...at("no"), "-b", plain(), "new"], "no checkpoint in"],
    ["terminal", () => ["restore", ...at("broken"), "-d", "-b", terminal(), "new"], "needs --console-socket"],
    ["broken images", () => ["restore", ...at("broken"), "-b", plain(), "new"], "criu"],
  ];
  for (const [what, args, message] of cases) {
    test(`${what}: ${message}`, async () => {
      const { code, err } = await runtime.run(args());
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
      expect(readdirSync(runtime.root).sort()).toEqual(["created", "running"]);
      expect((await runtime.status("running")).status).toBe("running");
    });
  }

  test("no criu: said, and how to get it", async () => {
    const { code, err } = await runtime.run(["checkpoint", ...at("x"), "running"], { env: { PATH: runtime.dir } });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("criu is not installed") });
  });

  test.skipIf(!Bun.which("criu"))("a refusal has the lines of the log, and leaves the container running", async () => {
    // Its output is a file of the host.
    const out = Bun.file(join(runtime.dir, "out"));
    expect(
      await runtime.spawn(["run", "-d", "-b", runtime.bundle("exec sleep 1000"), "out"], ["ignore", out, "ignore"])
        .exited,
    ).toBe(0);
    const { code, err } = await runtime.run([
      "checkpoint",
      ...at("out-images"),
      "--work-path",
      join(runtime.dir, "work"),
      "out",
    ]);
    expect(code).toBe(1);
    expect(err).toMatch(/criu failed: type DUMP errno -?\d+.*Error \(criu\//s);
    expect(err).toContain(`(log file: ${runtime.dir}/work/dump.log)`);
    expect((await runtime.status("out")).status).toBe("running");
    await runtime.ok("delete", "--force", "out");
  });
});

function catches(pid: number, signal: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${caught}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

const cannot = cannotRun ?? cannotCheckpoint();

describe.skipIf(cannot !== undefined)(`checkpoint and restore${cannot ? ` (skipped: ${cannot})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(async () => {
    await runtime.close();
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("criu-root");
  });

  const images = (name: string) => ["--image-path", join(runtime.dir, name)];
  /** With /dev/null for stdio: a file of the host's cannot be dumped. */
  const quiet = async (...args: string[]) => {
    const err = join(runtime.dir, "err");
    const code = await runtime.spawn(args, ["ignore", "ignore", Bun.file(err)]).exited;
    if (code !== 0) throw new Error(`${args.join(" ")}: ${code}: ${readFileSync(err, "utf8")}`);
  };
  const start = async (id: string, bundle: string) => {
    expect(await runtime.spawn(["run", "-d", "-b", bundle, id], ["ignore", "ignore", "ignore"]).exited).toBe(0);
  };
  const restore = async (id: string, bundle: string, ...args: string[]) => {
    const log = join(runtime.dir, "log");
    const command = ["--log", log, "restore", "-d", "-b", bundle, ...args, id];
    const code = await runtime.spawn(command, ["ignore", "ignore", "ignore"]).exited;
    if (code !== 0) throw new Error(readFileSync(log, "utf8"));
  };
  const count = async (id: string) => Number((await runtime.run(["exec", id, "cat", "/dev/shm/n"])).out);
  const counts = (id: string, from = 0) => eventually("it counts", async () => (await count(id)) > from);

  test("stops, and goes on where it was, with its limits; again from the same images", async () => {
    const bundle = runtime.bundle(COUNT, (spec) => {
      spec.linux.resources = { ...spec.linux.resources, pids: { limit: 42 } };
    });
    await start("count", bundle);
    await counts("count", 2);
    const before = await count("count");
    await runtime.ok("checkpoint", ...images("count"), "count");
    expect(existsSync(join(runtime.root, "count"))).toBe(false);
    for (let round = 0; round < 2; round++) {
      const pidFile = join(runtime.dir, "pid");
      await restore("count", bundle, ...images("count"), "--pid-file", pidFile);
      await counts("count", before);
      const { pid, status } = await runtime.status("count");
      expect({ pid: String(pid), status }).toEqual({ pid: readFileSync(pidFile, "utf8"), status: "running" });
      const paths = readFileSync(`/proc/${pid}/cgroup`, "utf8").matchAll(/^\d+:(.*):(\/inro-runtime\/count)$/gm);
      const limits = [...paths].map(([, names]) =>
        ["/sys/fs/cgroup", `/sys/fs/cgroup/${names}`]
          .map((root) => `${root}/inro-runtime/count/pids.max`)
          .find(existsSync),
      );
      expect(limits.map((path) => path && readFileSync(path, "utf8").trim())).toContain("42");
      await runtime.ok("pause", "count");
      await runtime.ok("resume", "count");
      await runtime.ok("kill", "count", "KILL");
      await eventually("stopped", async () => (await runtime.status("count")).status === "stopped");
      await runtime.ok("delete", "count");
    }
  });

  test("--leave-running; --pre-dump, and the rest on top of it", async () => {
    const bundle = runtime.bundle(COUNT);
    await start("stays", bundle);
    await counts("stays");
    await runtime.ok("checkpoint", "--leave-running", ...images("stays"), "stays");
    await counts("stays", await count("stays"));
    await runtime.ok("checkpoint", "--pre-dump", ...images("pre"), "stays");
    expect((await runtime.status("stays")).status).toBe("running");
    await runtime.ok("checkpoint", ...images("rest"), "--parent-path", "../pre", "stays");
    expect(existsSync(join(runtime.dir, "rest/parent"))).toBe(true);
    await restore("stays", bundle, ...images("rest"), "--work-path", join(runtime.dir, "work"));
    expect(existsSync(join(runtime.dir, "work/restore.log"))).toBe(true);
    await counts("stays", await count("stays"));
    await runtime.ok("delete", "--force", "stays");
  });

  test("in the foreground: its pipes, signals, its exit status", async () => {
    const bundle = runtime.bundle(
      "trap 'echo got; exit 9' USR1; echo up; : > /dev/shm/up; while :; do sleep 0.05; done",
    );
    // Bun's own are sockets.
    const foreground = (...args: string[]) => {
      const [reader, writer] = pipe();
      const child = runtime.spawn([...args, "fore"], ["ignore", writer, "ignore"]);
      close(writer);
      return { child, output: Bun.file(reader).text() };
    };
    const first = foreground("run", "-b", bundle);
    await eventually("it runs", async () => (await runtime.run(["exec", "fore", "cat", "/dev/shm/up"])).code === 0);
    await runtime.ok("checkpoint", ...images("fore"), "fore");
    expect(await first.child.exited).toBe(137);
    expect(await first.output).toBe("up\n");
    const { child, output } = foreground("restore", "-b", bundle, ...images("fore"));
    await eventually("it passes signals on", () => catches(child.pid, constants.signals.SIGUSR1));
    child.kill("SIGUSR1");
    expect(await child.exited).toBe(9);
    expect(await output).toBe("got\n");
    expect(existsSync(join(runtime.root, "fore"))).toBe(false);
  });

  test("a terminal: its master comes over the console socket", async () => {
    const bundle = runtime.bundle("while read -r line; do echo got:$line; done", (spec) => {
      spec.process.terminal = true;
    });
    const path = (n: number) => join(runtime.dir, `console${n}`);
    const first = new ConsoleSocket(path(1));
    await quiet("run", "-d", "-b", bundle, "--console-socket", path(1), "tty");
    const old = first.receive();
    await runtime.ok("checkpoint", ...images("tty"), "tty");
    close(old);
    const second = new ConsoleSocket(path(2));
    await restore("tty", bundle, ...images("tty"), "--console-socket", path(2));
    const master = second.receive();
    const output = readTerminal(master);
    writeAll(master, Buffer.from("line\n"));
    writeAll(master, Buffer.from([4]));
    expect(await output).toContain("got:line");
    close(master);
    await runtime.ok("delete", "--force", "tty");
  });

  test("what is the host's is found again: binds, masked files, a network namespace; hooks run", async () => {
    const [shared, file, told] = [join(runtime.dir, "shared"), join(runtime.dir, "file"), join(runtime.dir, "told")];
    mkdirSync(shared);
    writeFileSync(file, "of the host");
    await start("other", runtime.bundle("exec sleep 1000"));
    const { pid } = await runtime.status("other");
    const hook = (name: string) => [{ path: "/bin/busybox", args: ["sh", "-c", `echo ${name} >> ${told}`] }];
    const bundle = runtime.bundle(`${COUNT.replace("/dev/shm/n", "/dev/shm/n; cp /dev/shm/n /shared/n")}`, (spec) => {
      spec.mounts!.push(
        { destination: "/shared", type: "bind", source: shared, options: ["rbind", "rw"] },
        { destination: "/etc/file", type: "bind", source: file, options: ["bind", "ro"] },
      );
      const net = spec.linux.namespaces!.find(({ type }) => type === "network")!;
      net.path = `/proc/${pid}/ns/net`;
      const each = (name: string) => ({ [name]: hook(name) });
      spec.hooks = { ...each("prestart"), ...each("createRuntime"), ...each("poststart"), ...each("poststop") };
    });
    await start("host", bundle);
    await counts("host");
    await runtime.ok("checkpoint", ...images("host"), "host");
    await restore("host", bundle, ...images("host"));
    await counts("host", await count("host"));
    const inside = async (...command: string[]) => (await runtime.ok("exec", "host", ...command)).trim();
    expect(await inside("cat", "/etc/file")).toBe("of the host");
    expect(await inside("cat", "/proc/keys")).toBe("");
    expect((await runtime.run(["exec", "host", "touch", "/etc/file", "/proc/sys/x"])).err).toContain("Read-only");
    expect(await inside("readlink", "/proc/1/ns/net")).toBe(
      (await runtime.ok("exec", "other", "readlink", "/proc/1/ns/net")).trim(),
    );
    expect(Number(readFileSync(join(shared, "n"), "utf8"))).toBeGreaterThan(0);
    await runtime.ok("delete", "--force", "host");
    await runtime.ok("delete", "--force", "other");
    const start_ = ["prestart", "createRuntime"];
    expect(readFileSync(told, "utf8").trim().split("\n")).toEqual([
      ...[...start_, "poststart", "poststop"],
      ...[...start_, "poststop"],
    ]);
  });
});
