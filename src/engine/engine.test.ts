import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Engine, type OutputChunk } from "./engine.ts";

const root = process.getuid?.() === 0;

async function collect(output: AsyncIterable<OutputChunk>): Promise<{ out: string; err: string }> {
  const parts: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
  for await (const { stream, data } of output) parts[stream].push(Buffer.from(data));
  return { out: Buffer.concat(parts[1]).toString(), err: Buffer.concat(parts[2]).toString() };
}

describe.skipIf(!root)("the engine on the host image (needs root)", () => {
  let directory: string;
  let engine: Engine;
  const lines: string[] = [];
  const open = () =>
    Engine.open({
      defaultBridge: false,
      dataRoot: join(directory, "data"),
      execRoot: join(directory, "run"),
      log: (line) => lines.push(line),
    });
  const create = async (command: string | string[], more: object = {}, name?: string) => {
    const Cmd = typeof command === "string" ? ["sh", "-c", command] : command;
    return (await engine.containers.create({ Image: "host", Cmd, ...more }, name)).Id;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "inro-engine-"));
    engine = await open();
  });

  afterAll(async () => {
    for (const { Id } of await engine.containers.list({ all: true }))
      await engine.containers.remove(Id, { force: true });
    const findings = await engine.check({ repair: false });
    await engine.close();
    rmSync(directory, { recursive: true, force: true });
    expect(findings).toEqual([]);
    expect(lines).toEqual([]);
  });

  test("runs to its end: output to the client and the log, exit code to waiters and records", async () => {
    const id = await create("echo out; echo err >&2; exit 7");
    const attached = await engine.containers.attach(id, { stream: true, stdout: true, stderr: true });
    const waiting = engine.containers.wait(id, "next-exit");
    await engine.containers.start(id);
    expect(await collect(attached.output)).toEqual({ out: "out\n", err: "err\n" });
    expect(await waiting.result).toEqual({ StatusCode: 7 });
    const { State } = await engine.containers.inspect(id);
    expect(State).toMatchObject({ Status: "exited", Running: false, ExitCode: 7, Error: "", Pid: 0 });
    const logs = await engine.containers.logs(id, { stdout: true, stderr: true });
    expect(await collect(logs.output)).toEqual({ out: "out\n", err: "err\n" });
  });

  /** Attaches, starts, and reads all output. */
  const run = async (id: string, input?: string) => {
    const attached = await engine.containers.attach(id, { stream: true, stdin: true, stdout: true, stderr: true });
    const { result } = engine.containers.wait(id, "next-exit");
    await engine.containers.start(id);
    if (input !== undefined) {
      await attached.write(Buffer.from(input));
      await attached.endInput();
    }
    const shown = await collect(attached.output);
    return { ...shown, code: (await result).StatusCode };
  };
  /** Resolves when the container has written `text`. */
  const written = async (id: string, text: string) => {
    const { output } = await engine.containers.logs(id, { stdout: true, stderr: true, follow: true });
    for await (const { data } of output) if (Buffer.from(data).includes(text)) return;
    throw new Error(`container ended before it wrote ${text}`);
  };
  /** One that says `ready` and runs until it is stopped. */
  const forever = 'trap "exit 42" TERM; echo ready; while :; do sleep 0.05; done';

  test("its own upper keeps what it writes, the host does not see it", async () => {
    const id = await create("mkdir /made; echo x > /made/file; rm -f /etc/hostname.none; hostname; id -u");
    const { out, code } = await run(id);
    expect(out).toBe(`${id.slice(0, 12)}\n0\n`);
    expect(code).toBe(0);
    expect(existsSync("/made")).toBe(false);
    expect(await engine.containers.changes(id)).toContainEqual({ Path: "/made/file", Kind: 1 });
  });

  test("the engine's own directories are hidden from a container", async () => {
    const { out } = await run(await create(`ls -A ${directory}/data | wc -l`));
    expect(out.trim()).toBe("0");
  });

  test("stdin ends with its first client if StdinOnce", async () => {
    const id = await create("cat; echo end", { OpenStdin: true, StdinOnce: true });
    expect((await run(id, "hello\n")).out).toBe("hello\nend\n");
  });

  test("megabytes pass through stdin and stdout unchanged", async () => {
    const id = await create(["sha256sum"], { OpenStdin: true, StdinOnce: true });
    const data = Buffer.alloc(8 << 20, "0123456789abcdef\n");
    const expected = createHash("sha256").update(data).digest("hex");
    expect((await run(id, data.toString("latin1"))).out).toBe(`${expected}  -\n`);
  });

  test("a terminal: one raw stream, its size set", async () => {
    const id = await create("stty size; tty; echo err >&2", { Tty: true, HostConfig: { ConsoleSize: [33, 77] } });
    const attached = await engine.containers.attach(id, { stream: true, stdout: true, stderr: true });
    expect(attached.tty).toBe(true);
    await engine.containers.start(id);
    const { out, err } = await collect(attached.output);
    expect(out).toBe("33 77\r\n/dev/pts/0\r\nerr\r\n");
    expect(err).toBe("");
  });

  test("a terminal's client detaches by its keys, and the container goes on", async () => {
    const id = await create("read x; echo got $x", { Tty: true, OpenStdin: true });
    const attached = await engine.containers.attach(id, { stream: true, stdin: true, stdout: true });
    await engine.containers.start(id);
    const output = collect(attached.output);
    await attached.write(Buffer.from([0x10, 0x11]));
    await output;
    expect((await engine.containers.inspect(id)).State.Running).toBe(true);
    const again = await engine.containers.attach(id, { stream: true, stdin: true, stdout: true });
    const { result } = engine.containers.wait(id);
    await again.write(Buffer.from("me\r"));
    expect((await collect(again.output)).out).toContain("got me");
    expect((await result).StatusCode).toBe(0);
  });

  test.each([
    ["a command that is not there", ["/no/such/command"], 127],
    ["a file that is no program", ["/etc/passwd"], 126],
  ])("%s: the start fails, and the state says so", async (_, command, code) => {
    const id = await create(command);
    const attached = await engine.containers.attach(id, { stream: true, stdout: true });
    await expect(engine.containers.start(id)).rejects.toMatchObject({ kind: "invalid" });
    expect((await engine.containers.inspect(id)).State).toMatchObject({ Status: "created", ExitCode: code });
    expect(await collect(attached.output)).toEqual({ out: "", err: "" });
  });

  test("stop sends the stop signal and waits for the end", async () => {
    const id = await create(forever);
    await engine.containers.start(id);
    await written(id, "ready");
    await engine.containers.stop(id);
    expect((await engine.containers.inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 42 });
    await expect(engine.containers.stop(id)).rejects.toMatchObject({ kind: "notModified" });
    await engine.containers.restart(id);
    expect((await engine.containers.inspect(id)).State.Running).toBe(true);
    await engine.containers.kill(id);
    expect(await engine.containers.wait(id).result).toEqual({ StatusCode: 137 });
  });

  test("stop kills what ignores the signal", async () => {
    const id = await create(`trap "" TERM; ${forever.slice(forever.indexOf("echo"))}`);
    await engine.containers.start(id);
    await written(id, "ready");
    await engine.containers.stop(id, { timeout: 0 });
    expect((await engine.containers.inspect(id)).State.ExitCode).toBe(137);
  });

  test("a paused container does not run, and is stopped all the same", async () => {
    const id = await create(forever);
    await engine.containers.start(id);
    await written(id, "ready");
    await engine.containers.pause(id);
    expect((await engine.containers.inspect(id)).State).toMatchObject({ Status: "paused", Running: true });
    await expect(engine.containers.pause(id)).rejects.toMatchObject({ kind: "conflict" });
    await expect(engine.containers.start(id)).rejects.toMatchObject({ kind: "conflict" });
    await engine.containers.stop(id);
    expect((await engine.containers.inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 42 });
  });

  test("a log that cannot be written is told once, and holds nothing up", async () => {
    const id = await create("echo one; sleep 0.01; echo two; exit 2");
    const { LogPath } = await engine.containers.inspect(id);
    mkdirSync(LogPath, { recursive: true });
    expect(await run(id)).toEqual({ out: "one\ntwo\n", err: "", code: 2 });
    expect(lines.splice(0)).toEqual([expect.stringContaining("its log: EISDIR")]);
  });

  test("AutoRemove leaves nothing; waiting for the removal has the exit code", async () => {
    const id = await create("exit 3", { HostConfig: { AutoRemove: true }, Volumes: { "/v": {} } });
    const { result } = engine.containers.wait(id, "removed");
    await engine.containers.start(id);
    expect(await result).toEqual({ StatusCode: 3 });
    await expect(engine.containers.inspect(id)).rejects.toMatchObject({ kind: "notFound" });
    expect(existsSync(join(directory, "data/containers", id))).toBe(false);
    expect(engine.volumes.list()).toEqual([]);
  });

  test("names: unique, by prefix, renamed", async () => {
    const id = await create("true", {}, "first");
    await expect(create("true", {}, "first")).rejects.toMatchObject({ kind: "conflict" });
    expect(engine.containers.resolve(id.slice(0, 12))).toBe(id);
    expect(engine.containers.resolve("/first")).toBe(id);
    await engine.containers.rename("first", "second");
    expect(engine.containers.resolve("second")).toBe(id);
    expect(() => engine.containers.resolve("first")).toThrow("No such container: first");
    const named = await engine.containers.list({ all: true, filters: new Map([["name", ["seco"]]]) });
    expect(named.map(({ Id }) => Id)).toEqual([id]);
  });

  test("removal of a running container needs force", async () => {
    const id = await create(forever);
    await engine.containers.start(id);
    await expect(engine.containers.remove(id)).rejects.toMatchObject({ kind: "conflict" });
    await engine.containers.remove(id, { force: true });
    await expect(engine.containers.inspect(id)).rejects.toMatchObject({ kind: "notFound" });
  });

  test("a named volume keeps its data for the next container; in use it stays", async () => {
    const HostConfig = { Binds: ["data:/data"] };
    const first = await create("echo kept > /data/file", { HostConfig });
    await run(first);
    const second = await create("cat /data/file; echo x > /data/new", { HostConfig: { Binds: ["data:/data:ro"] } });
    const { out, code } = await run(second);
    expect(out).toBe("kept\n");
    expect(code).not.toBe(0);
    await expect(engine.volumes.remove("data")).rejects.toMatchObject({ kind: "conflict" });
    for (const id of [first, second]) await engine.containers.remove(id);
    await engine.volumes.remove("data");
  });

  test("an empty volume has the owner and mode of what it covers", async () => {
    const id = await create("stat -c %a /tmp; stat -c %a /covered-by-nothing", {
      HostConfig: { Binds: ["sticky:/tmp", "plain:/covered-by-nothing"] },
    });
    expect((await run(id)).out).toBe("1777\n755\n");
    await engine.containers.remove(id);
    await engine.volumes.prune(new Map([["all", ["true"]]]));
    expect(engine.volumes.list()).toEqual([]);
  });

  test("exec: output, input, exit code; its user and directory", async () => {
    const id = await create(forever);
    await engine.containers.start(id);
    await written(id, "ready");
    const all = { AttachStdin: true, AttachStdout: true, AttachStderr: true };
    const { Id } = await engine.execs.create(id, { ...all, Cmd: ["sh", "-c", "pwd; cat; exit 5"], WorkingDir: "/tmp" });
    engine.execs.check(Id);
    const attached = (await engine.execs.start(Id, {}))!;
    await attached.write(Buffer.from("typed\n"));
    await attached.endInput();
    expect(await collect(attached.output)).toEqual({ out: "/tmp\ntyped\n", err: "" });
    expect(engine.execs.inspect(Id)).toMatchObject({ Running: false, ExitCode: 5, ContainerID: id });
    await expect(engine.execs.start(Id, {})).rejects.toMatchObject({ kind: "conflict" });
    const missing = await engine.execs.create(id, { AttachStdout: true, Cmd: ["/no/such"] });
    const refused = await collect((await engine.execs.start(missing.Id, {}))!.output);
    expect(refused).toMatchObject({ out: expect.stringMatching(/no such file or directory\r\n$/), err: "" });
    expect(engine.execs.inspect(missing.Id).ExitCode).toBe(127);
    const unseen = await engine.execs.create(id, { Cmd: ["/no/such"] });
    await expect(engine.execs.start(unseen.Id, { Detach: true })).rejects.toMatchObject({ kind: "invalid" });
    expect((await engine.containers.top(id)).Processes.length).toBeGreaterThan(0);
    await engine.containers.kill(id);
    await engine.containers.wait(id).result;
    await expect(engine.execs.create(id, { Cmd: ["true"] })).rejects.toMatchObject({ kind: "conflict" });
  });

  test("a client that does not read holds the container back until it goes", async () => {
    const id = await create("head -c 20000000 /dev/zero | tr '\\0' x; echo done >&2");
    const slow = await engine.containers.attach(id, { stream: true, stdout: true });
    const fast = await engine.containers.attach(id, { stream: true, stderr: true });
    const { result } = engine.containers.wait(id, "next-exit");
    await engine.containers.start(id);
    const first = await slow.output[Symbol.asyncIterator]().next();
    expect(first.value?.data.length).toBeGreaterThan(0);
    expect((await engine.containers.inspect(id)).State.Running).toBe(true);
    slow.close();
    expect((await collect(fast.output)).err).toBe("done\n");
    expect((await result).StatusCode).toBe(0);
    const { output } = await engine.containers.logs(id, { stdout: true });
    expect((await collect(output)).out.length).toBe(20000000);
  });

  test("attach with logs shows what was and what comes, once", async () => {
    const id = await create("echo one; printf part; read x; echo ed $x", { OpenStdin: true, StdinOnce: true });
    await engine.containers.start(id);
    const first = await engine.containers.attach(id, { stream: true, stdout: true, logs: true });
    for await (const { data } of first.output) if (Buffer.from(data).includes("part")) break;
    const second = await engine.containers.attach(id, { stream: true, stdin: true, stdout: true, logs: true });
    await second.write(Buffer.from("x\n"));
    expect((await collect(second.output)).out).toBe("one\nparted x\n");
  });

  test("following a log ends with the container", async () => {
    const id = await create("for i in 1 2 3; do echo $i; sleep 0.02; done");
    await engine.containers.start(id);
    const { output } = await engine.containers.logs(id, { stdout: true, follow: true });
    expect((await collect(output)).out).toBe("1\n2\n3\n");
  });

  test("the next engine takes over what runs, and learns how the rest ended", async () => {
    const lasting = await create("echo ready; read x; echo more $x; exit 9", { OpenStdin: true });
    const ending = await create("echo ready; while [ ! -e /go/on ]; do sleep 0.02; done; echo late; exit 8", {
      HostConfig: { Binds: [`${directory}/go:/go`] },
    });
    for (const id of [lasting, ending]) await engine.containers.start(id);
    for (const id of [lasting, ending]) await written(id, "ready");
    await expect(open()).rejects.toThrow(`(pid ${process.pid})`);
    await engine.close();
    writeFileSync(join(directory, "go/on"), "");
    engine = await open();
    expect(await engine.containers.wait(ending).result).toEqual({ StatusCode: 8 });
    const { output } = await engine.containers.logs(ending, { stdout: true });
    expect((await collect(output)).out).toBe("ready\nlate\n");
    expect((await engine.containers.inspect(lasting)).State.Running).toBe(true);
    const attached = await engine.containers.attach(lasting, { stream: true, stdin: true, stdout: true });
    const { result } = engine.containers.wait(lasting);
    await attached.write(Buffer.from("input\n"));
    expect((await collect(attached.output)).out).toBe("more input\n");
    expect(await result).toEqual({ StatusCode: 9 });
  });

  test("check finds what does not belong, mends it, and then finds nothing", async () => {
    const stray = "f".repeat(64);
    mkdirSync(join(directory, "run/containers", stray));
    mkdirSync(join(directory, "data/containers", stray, "upper/deep"), { recursive: true });
    mkdirSync(join(directory, "data/volumes/stray/_data"), { recursive: true });
    const kinds = async (repair: boolean): Promise<string[]> =>
      (await engine.check({ repair })).map(({ kind }) => kind).sort();
    const expected = ["container-directory", "run-directory", "volume"];
    expect(await kinds(false)).toEqual(expected);
    expect((await engine.check({ repair: true })).every(({ repaired }) => repaired)).toBe(true);
    expect(await kinds(false)).toEqual([]);
  });

  test("events tell the life of a container in order", async () => {
    const over = new AbortController();
    const actions: string[] = [];
    const events = engine.events.subscribe({ filters: new Map([["type", ["container"]]]) }, over.signal);
    const { result } = await (async () => {
      const id = await create("true", { HostConfig: { AutoRemove: true }, Labels: { a: "b" } });
      const waiting = engine.containers.wait(id, "removed");
      await engine.containers.start(id);
      return waiting;
    })();
    await result;
    over.abort();
    for await (const { Action, Actor } of events) {
      actions.push(Action);
      expect(Actor.Attributes).toMatchObject({ a: "b", image: "host" });
    }
    expect(actions).toEqual(["create", "start", "die", "destroy"]);
    // What was removed is still on its way off the disk.
    await engine.check({ repair: false });
    expect(engine.idle).toBe(true);
  });
});
