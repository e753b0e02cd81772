import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Engine } from "../../src/engine/engine.ts";
import { Datagrams } from "../datagrams.ts";
import { engineForTests, hasBusybox, isRoot, temporary } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const MIB = 1 << 20;

describe.skipIf(why !== "")(`logs${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const run = (name: string, script: string, ...flags: string[]) =>
    engine.ok("run", "-d", "--name", name, ...flags, "busybox", "sh", "-c", script);
  const message = async (path: string) => {
    const response = await engine.api("GET", path);
    return [response.status, ((await response.json()) as { message: string }).message];
  };
  const logDirectory = async (name: string) => {
    const id = await engine.ok("inspect", "-f", "{{.Id}}", name);
    return join(engine.dataRoot, "containers", id);
  };
  /** Until a line of the log is there. */
  const logged = async (name: string, line: string) => {
    const follow = engine.spawn(["logs", "-f", name]);
    let text = "";
    for await (const chunk of follow.stdout as ReadableStream<Uint8Array>) {
      text += new TextDecoder().decode(chunk);
      if (text.includes(line)) break;
    }
    follow.kill();
    await follow.exited;
  };

  describe.each(["json-file", "local"])("of the driver %s", (driver) => {
    const flags = ["--log-driver", driver];

    test("both streams, tail, times, bounds and details, of a container that ended", async () => {
      const name = `shown-${driver}`;
      await run(
        name,
        "echo one; echo two >&2; printf 'three '; sleep 0.05; echo 3; printf unfinished",
        ...[...flags, "-l", "role=a b", "-e", "MODE=x", "--log-opt", "labels=role", "--log-opt", "env-regex=^MO"],
        ...["--log-opt", "tag={{.Name}}"],
      );
      await engine.ok("wait", name);
      const logs = (...more: string[]) => engine.inro(["logs", ...more, name]);
      expect(await logs()).toEqual({ code: 0, stdout: "one\nthree 3\nunfinished", stderr: "two\n" });
      expect(await logs("-n", "1")).toEqual({ code: 0, stdout: "unfinished", stderr: "" });
      expect((await logs("--tail", "2")).stdout).toBe("three 3\nunfinished");
      expect((await logs("--tail", "0")).stdout).toBe("");
      expect((await logs("--tail", "many")).stdout).toBe("one\nthree 3\nunfinished");
      const stamped = (await logs("-t")).stdout.split("\n");
      expect(stamped[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z three 3$/);
      const details = await logs("--details", "-t", "--tail", "1");
      expect(details.stdout).toMatch(new RegExp(`^\\S+Z MODE=x,role=a\\+b,tag=${name} unfinished$`));
      // Bounds in every notation: a time, one in seconds, and how long ago.
      const time = stamped[1]!.split(" ")[0]!;
      const seconds = `${Math.floor(Date.parse(time) / 1000)}.${time.slice(20, 29)}`;
      for (const bound of [time, seconds]) {
        expect((await logs("--since", bound)).stdout).toBe("three 3\nunfinished");
        expect((await logs("--until", bound)).stdout).toBe("one\nthree 3\n");
        expect((await logs("--since", bound, "--until", bound)).stdout).toBe("three 3\n");
      }
      expect((await logs("--since", "10m")).stdout).toBe("one\nthree 3\nunfinished");
      expect((await logs("--until", "1h10m")).stdout).toBe("");
      expect((await logs("--since", "2020-01-01")).stdout).toBe("one\nthree 3\nunfinished");
      expect((await logs("--until", "2020-01-01T10:00")).stdout).toBe("");
      expect(await logs("--since", "soon")).toEqual({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining('failed to parse value as time or duration: "soon"'),
      });
      // One frame a line, as the Engine API has it.
      const frames = Buffer.from(
        await (await engine.api("GET", `/containers/${name}/logs?stderr=1&stdout=1&tail=2`)).arrayBuffer(),
      );
      expect(frames.readUInt32BE(4)).toBe(8);
      expect(frames.toString("latin1", 8, 16)).toBe("three 3\n");
      expect(frames.length).toBe(8 + 8 + 8 + 10);
    });

    test("one that is followed has every line, over rotations, and ends with the container", async () => {
      const name = `followed-${driver}`;
      const limits = ["--log-opt", "max-size=100k", "--log-opt", "max-file=200", "--log-opt", "compress=true"];
      await run(name, "read go; seq 1 40000; echo last >&2", ...flags, ...limits, "-i");
      const follow = engine.inro(["logs", "-f", name]);
      const other = engine.spawn(["logs", "-f", "--tail", "0", name]);
      await engine.inro(["attach", name], { stdin: "go\n" });
      const { code, stdout, stderr } = await follow;
      expect([code, stderr]).toEqual([0, "last\n"]);
      expect(stdout).toBe(Array.from({ length: 40_000 }, (_, i) => `${i + 1}\n`).join(""));
      expect(await other.exited).toBe(0);
      // Which of the two streams is read first at the end is nobody's to say.
      expect((await engine.inro(["logs", "--tail", "3", name])).stdout).toEndWith("39999\n40000\n");
      const directory = join(await logDirectory(name), driver === "local" ? "local-logs" : "");
      expect(readdirSync(directory).filter((file) => /\.log\.\d+(\.gz|\.zst)?$/.test(file)).length).toBeGreaterThan(1);
    });

    test("goes on after kill -9 of the engine, without a lost or doubled line, over rotations", async () => {
      const name = `killed-${driver}`;
      const limits = ["--log-opt", "max-size=60k", "--log-opt", "max-file=500"];
      await run(name, "seq 1 60000; echo end", ...flags, ...limits);
      for (const line of ["\n2000\n", "\n15000\n", "\n30000\n"]) {
        await logged(name, line);
        await engine.kill("SIGKILL");
        await engine.start();
      }
      await engine.ok("wait", name);
      const lines = (await engine.ok("logs", name)).split("\n");
      expect(lines.findIndex((line, i) => line !== String(i + 1))).toBe(60_000);
      expect(lines.slice(60_000)).toEqual(["end"]);
    });

    test("much of it costs flat memory, both ways", async () => {
      const name = `much-${driver}`;
      const highWater = () =>
        Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${engine.pid}/status`, "latin1"))![1]) * 1024;
      const read = async () => {
        const response = await engine.api("GET", `/containers/${name}/logs?stdout=1&stderr=1`);
        let bytes = 0;
        for await (const chunk of response.body!) bytes += chunk.length;
        return bytes;
      };
      const line = "x".repeat(127);
      const limits = ["--log-opt", "max-size=1g", "--log-opt", "max-file=2"];
      await run(
        name,
        `yes ${line} | head -c ${16 * MIB}; read go; yes ${line} | head -c ${128 * MIB}`,
        ...flags,
        ...limits,
        "-i",
      );
      await engine.inro(["logs", "--tail", "1", name]);
      const before = highWater();
      await engine.inro(["attach", name], { stdin: "go\n" });
      await engine.ok("wait", name);
      expect(await read()).toBe((144 * MIB * (128 + 8)) / 128);
      expect((await engine.ok("logs", "--tail", "2", name)).split("\n")).toEqual([line, line]);
      expect(highWater() - before).toBeLessThan(96 * MIB);
      await engine.ok("rm", name);
    });
  });

  test("what cannot be answered is refused in docker's words", async () => {
    await run("refused", "true");
    expect(await message("/containers/refused/logs")).toEqual([
      400,
      "Bad parameters: you must choose at least one stream",
    ]);
    expect((await message("/containers/refused/logs?stdout=1&since=soon"))[0]).toBe(400);
    expect((await message("/containers/nobody/logs?stdout=1"))[0]).toBe(404);
    await run("silent", "echo nothing", "--log-driver", "none");
    const unreadable = "configured logging driver does not support reading";
    expect(await message("/containers/silent/logs?stdout=1")).toEqual([501, unreadable]);
    expect(await engine.inro(["logs", "silent"])).toMatchObject({ code: 1, stdout: "" });
    const refused = (...flags: string[]) => engine.inro(["create", ...flags, "busybox", "true"]);
    for (const [flags, text] of [
      [["--log-driver", "gelf"], "logger: no log driver named 'gelf' is registered"],
      [["--log-opt", "foo=1"], "unknown log opt 'foo' for json-file log driver"],
      [["--log-opt", "tag={{.Nope}}"], "failed to initialize logging driver: "],
      [["--log-opt", "labels-regex=("], "failed to initialize logging driver: error parsing regexp: "],
      [["--log-driver", "syslog", "--log-opt", "syslog-format=x"], "Invalid syslog format"],
    ] as const) {
      const { code, stderr } = await refused(...flags);
      expect([code, stderr]).toEqual([1, expect.stringContaining(text)]);
    }
    expect(await engine.ok("ps", "-aq", "--filter", "status=created")).toBe("");
  });

  test("a follower that does not read holds nothing up, and one that leaves is let go of", async () => {
    const linkOf = (fd: string) => {
      try {
        return readlinkSync(`/proc/${engine.pid}/fd/${fd}`);
      } catch {
        return "";
      }
    };
    const open = () => readdirSync(`/proc/${engine.pid}/fd`).filter((fd) => linkOf(fd).endsWith("-json.log")).length;
    await run("babble", `yes ${"w".repeat(999)} | head -n 30000; echo done; sleep 1000`);
    const stopped = engine.spawn(["logs", "-f", "babble"]);
    await (stopped.stdout as ReadableStream<Uint8Array>).getReader().read();
    process.kill(stopped.pid, "SIGSTOP");
    // The container does not wait for that reader: it writes all.
    while ((await engine.ok("logs", "--tail", "1", "babble")) !== "done") await Bun.sleep(5);
    process.kill(stopped.pid, "SIGKILL");
    await stopped.exited;
    const leaving = engine.spawn(["logs", "-f", "--tail", "1", "babble"]);
    await (leaving.stdout as ReadableStream<Uint8Array>).getReader().read();
    leaving.kill("SIGINT");
    expect(await leaving.exited).toBe(130);
    // The writer's own is left.
    while (open() > 1) await Bun.sleep(5);
    await engine.ok("rm", "-f", "babble");
  });

  test("syslog gets the lines, and a cache of them is what is read back", async () => {
    const path = join(engine.dir, "log.sock");
    const socket = new Datagrams(path);
    const flags = ["--log-driver", "syslog", "--log-opt", `syslog-address=unixgram://${path}`];
    await run("sent", "echo out; echo err >&2", ...flags, "--log-opt", "tag={{.Name}}");
    const received = (await socket.receive(2)).map(String);
    expect(received.map((line) => line.replace(/>.* sent/, "> sent").replace(/\d+\]/, "PID]")).sort()).toEqual([
      "<27> sent[PID]: err\n",
      "<30> sent[PID]: out\n",
    ]);
    await engine.ok("wait", "sent");
    expect(await engine.inro(["logs", "sent"])).toEqual({ code: 0, stdout: "out\n", stderr: "err\n" });
    await run("uncached", "echo out", ...flags, "--log-opt", "cache-disabled=true");
    await socket.receive(1);
    expect((await message("/containers/uncached/logs?stdout=1"))[0]).toBe(501);
    // An engine that takes a container over goes on sending.
    await run("taken", "read go; echo after", ...flags, "-i");
    await engine.kill("SIGKILL");
    await engine.start();
    await engine.inro(["attach", "taken"], { stdin: "go\n" });
    expect(String((await socket.receive(1))[0])).toEndWith(": after\n");
    await engine.ok("wait", "taken");
    socket.close();
    rmSync(path);
    // Nobody there: the container does not start, and says why.
    const failed = await engine.inro(["start", "sent"]);
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining("failed to initialize logging driver: ")]);
    expect(await engine.ok("inspect", "-f", "{{.State.Status}}", "sent")).toBe("exited");
  });
});

describe.skipIf(!isRoot)(`logs of an engine in this process${isRoot ? "" : " (needs root)"}`, () => {
  test("the engine's own driver, and journald where its socket is", async () => {
    const directory = temporary();
    const journal = join(directory, "journal");
    const lines: string[] = [];
    const engine = await Engine.open({
      dataRoot: join(directory, "data"),
      execRoot: join(directory, "run"),
      defaultLog: { Type: "local", Config: { "max-size": "5m" } },
      journal,
      log: (line) => lines.push(line),
    });
    try {
      const { containers } = engine;
      const create = async (HostConfig: object) =>
        (await containers.create({ Image: "host", Cmd: ["echo", "hello"], HostConfig })).Id;
      const local = await create({});
      expect(await containers.inspect(local)).toMatchObject({
        LogPath: "",
        HostConfig: { LogConfig: { Type: "local", Config: { "max-size": "5m" } } },
      });
      expect(await engine.info()).toMatchObject({
        LoggingDriver: "local",
        Plugins: { Log: ["journald", "json-file", "local", "none", "syslog"] },
      });

      const id = await create({ LogConfig: { Type: "journald", Config: {} } });
      await expect(containers.start(id)).rejects.toThrow(
        "failed to initialize logging driver: journald is not enabled on this host",
      );
      const socket = new Datagrams(journal);
      const { result } = containers.wait(id, "next-exit");
      await containers.start(id);
      const [entry] = await socket.receive(1);
      expect(String(entry)).toContain(`\nCONTAINER_ID_FULL=${id}\n`);
      expect(String(entry)).toEndWith("MESSAGE=hello\n");
      expect(await result).toMatchObject({ StatusCode: 0 });
      socket.close();
      const shown: string[] = [];
      const log = await containers.logs(id, { stdout: true });
      for await (const { data } of log.output) shown.push(String(Buffer.from(data)));
      expect(shown).toEqual(["hello\n"]);
      for (const one of [local, id]) await containers.remove(one);
      expect(lines).toEqual([]);
    } finally {
      await engine.close();
      rmSync(directory, { recursive: true });
    }
  });
});
