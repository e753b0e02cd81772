import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";
import { random } from "../random.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

const gone = async (pid: number) => {
  while (existsSync(`/proc/${pid}`)) await Bun.sleep(2);
};

describe.skipIf(why !== "")(`kill -9 of the engine${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const restart = async () => {
    await engine.kill("SIGKILL");
    await engine.start();
  };
  const field = (name: string, template: string) => engine.ok("inspect", "-f", template, name);
  const noLeaks = async () => expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");

  test("a running container goes on; the next engine has its process, output, input, terminal and limits", async () => {
    await engine.ok("run", "-di", "--name", "cat", "-m", "64m", "busybox", "cat");
    await engine.ok("run", "-dit", "--name", "shell", "busybox", "sh");
    const pid = await field("cat", "{{.State.Pid}}");
    const started = await field("cat", "{{.State.StartedAt}}");
    await restart();
    expect(await field("cat", "{{.State.Pid}} {{.State.StartedAt}} {{.State.Status}}")).toBe(
      `${pid} ${started} running`,
    );
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    expect(await engine.ok("ps", "--format", "{{.Names}} {{.State}}")).toBe("shell running\ncat running");
    expect(await engine.ok("exec", "cat", "hostname")).toBe((await field("cat", "{{.Id}}")).slice(0, 12));
    expect((await engine.inro(["exec", "-i", "cat", "cat"], { stdin: "through exec\n" })).stdout).toBe(
      "through exec\n",
    );

    const attached = engine.spawn(["attach", "cat"]);
    const output = (attached.stdout as ReadableStream<Uint8Array>).getReader();
    (attached.stdin as Bun.FileSink).write("typed after the crash\n");
    await (attached.stdin as Bun.FileSink).flush();
    expect(new TextDecoder().decode((await output.read()).value)).toBe("typed after the crash\n");
    attached.kill("SIGKILL");
    await attached.exited;
    expect(await engine.ok("logs", "cat")).toBe("typed after the crash");
    await engine.ok("stop", "-t", "0", "cat");
    expect(await field("cat", "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 137");

    // The terminal is still there: what is typed comes back with its echo.
    let shown = "";
    const typed = engine.spawn(["attach", "shell"], {
      terminal: {
        data(terminal, chunk) {
          shown += new TextDecoder().decode(chunk);
          if (shown.includes("six-7")) terminal.write("\x10\x11");
        },
      },
    });
    typed.terminal!.write("echo six-$((3+4))\r");
    // As docker has it for an attach that is detached from.
    expect(await typed.exited).toBe(1);
    typed.terminal!.close();
    expect(shown).toContain("six-7");
    await engine.ok("stop", "-t", "0", "shell");
    expect(await field("shell", "{{.State.ExitCode}}")).toBe("137");
    await engine.ok("rm", "cat", "shell");
    await noLeaks();
  });

  test("output goes on without a lost or doubled line, through several crashes in the middle of it", async () => {
    const last = 150_000;
    await engine.ok("run", "-d", "--name", "count", "busybox", "seq", "1", String(last));
    const next = random(7);
    for (let crash = 0; crash < 5; crash++) {
      // Every time a little further, as far as a reader of the log sees.
      const wanted = 1000 + Math.floor(next() * 5000) + crash * 20_000;
      const follow = engine.spawn(["logs", "-f", "count"]);
      let lines = 0;
      for await (const chunk of follow.stdout as ReadableStream<Uint8Array>) {
        for (const byte of chunk) if (byte === 10) lines++;
        if (lines >= wanted) break;
      }
      follow.kill();
      await follow.exited;
      await restart();
    }
    expect(await engine.ok("wait", "count")).toBe("0");
    const logged = (await engine.ok("logs", "count")).split("\n");
    const wrong = logged.findIndex((line, i) => line !== String(i + 1));
    expect({ wrong, around: wrong < 0 ? [] : logged.slice(wrong - 1, wrong + 2), lines: logged.length }).toEqual({
      wrong: -1,
      around: [],
      lines: last,
    });
    await engine.ok("rm", "count");
  });

  test("what ended while no engine ran has its exit code, its time and its last words; --rm takes it away", async () => {
    const go = join(engine.dir, "go");
    mkdirSync(go);
    const pids: number[] = [];
    for (const [name, script, ...flags] of [
      ["seven", "until test -e /go/now; do usleep 1000; done; echo last words; echo to stderr >&2; exit 7"],
      ["signal", "until test -e /go/now; do usleep 1000; done; kill -9 $$; :", "--init"],
      ["removed", "until test -e /go/now; do usleep 1000; done", "--rm"],
    ] as const) {
      await engine.ok("run", "-d", ...flags, "--name", name, "-v", `${go}:/go`, "busybox", "sh", "-c", script);
      pids.push(Number(await field(name, "{{.State.Pid}}")));
    }
    const before = Date.now();
    await engine.kill("SIGKILL");
    writeFileSync(join(go, "now"), "");
    await Promise.all(pids.map(gone));
    const after = Date.now();
    await engine.start();
    expect(await field("seven", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.Error}}")).toBe(
      "exited 7 0 ",
    );
    expect(await engine.inro(["logs", "seven"])).toEqual({ code: 0, stdout: "last words\n", stderr: "to stderr\n" });
    expect(await field("signal", "{{.State.ExitCode}}")).toBe("137");
    const finished = Date.parse(await field("seven", "{{.State.FinishedAt}}"));
    expect(finished).toBeGreaterThanOrEqual(before - 50);
    expect(finished).toBeLessThanOrEqual(after + 50);
    expect((await engine.inro(["inspect", "removed"])).code).toBe(1);
    expect(await engine.inro(["start", "-a", "seven"])).toMatchObject({ code: 7, stdout: "last words\n" });
    await engine.ok("rm", "seven", "signal");
  }, 30_000);

  test("killed 15 times in 200 launches: every container is sane, what was promised holds, nothing leaks", async () => {
    const next = random(20_260_731);
    const launches = 200;
    const promised = new Map<string, { code: number; started: boolean; kept: boolean }>();
    let events = 0;
    let killAt = 0;
    let killing: Promise<void> | undefined;
    let kills = 0;
    /** Counts an answer; at the chosen one the engine is killed and started again. */
    const event = () => {
      if (++events !== killAt || kills >= 15) return;
      kills++;
      killing = restart().then(() => {
        killing = undefined;
        killAt = events + 1 + Math.floor(next() * 30);
      });
    };
    killAt = 5;
    const call = async (method: string, path: string, body?: unknown): Promise<Response | undefined> => {
      while (killing) await killing;
      try {
        const response = await engine.api(method, path, body);
        const copy = new Response(await response.arrayBuffer(), {
          status: response.status === 204 ? 200 : response.status,
        });
        event();
        return copy;
      } catch {
        // The engine was killed with the request under way: anything may have become of it.
        return undefined;
      }
    };
    const launch = async (n: number) => {
      const code = n % 100;
      const kept = n % 3 !== 0;
      const created = await call("POST", `/containers/create?name=crash-${n}`, {
        Image: "busybox",
        Cmd: ["sh", "-c", `echo out ${n}; exit ${code}`],
        HostConfig: { AutoRemove: !kept },
      });
      if (created?.status !== 201) return;
      const { Id } = (await created.json()) as { Id: string };
      const promise = { code, started: false, kept };
      promised.set(Id, promise);
      const started = await call("POST", `/containers/${Id}/start`);
      if (started?.ok) promise.started = true;
      else if (started) throw new Error(`start: ${started.status} ${await started.text()}`);
    };
    let n = 0;
    const worker = async () => {
      while (n < launches) await launch(n++);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    while (killing) await killing;
    expect(kills).toBeGreaterThanOrEqual(10);
    expect(promised.size).toBeGreaterThan(launches * 0.6);

    let lost = 0;
    for (const [id, { code, started, kept }] of promised) {
      // Not "wait": it would never end for one that was not started.
      const inspect = await engine.api("GET", `/containers/${id}/json`);
      if (inspect.status === 404) {
        expect({ id, kept }).toEqual({ id, kept: false });
        continue;
      }
      const { State } = (await inspect.json()) as {
        State: { Status: string; ExitCode: number; Running: boolean; Pid: number; Error: string };
      };
      if (State.Running) {
        await (await engine.api("POST", `/containers/${id}/wait`)).text();
        continue;
      }
      if (started) expect({ id, ...State }).toMatchObject({ id, Status: "exited", ExitCode: code, Pid: 0, Error: "" });
      else expect(["created", "exited"]).toContain(State.Status);
      if (State.Status === "exited") {
        expect(State.ExitCode).toBe(code);
        const log = await engine.api("GET", `/containers/${id}/logs?stdout=1&stderr=1`);
        const text = (await log.text()).slice(8);
        if (text === "") lost++;
        else expect(text).toMatch(/^out \d+\n$/);
      }
    }
    // What an engine has taken out of a pipe and not yet written dies with it: hardly ever more than none.
    expect(lost).toBeLessThanOrEqual(2);
    const first = await engine.inro(["system", "check", "--repair"]);
    expect(first.code).toBe(0);
    await noLeaks();
    const all = (await engine.ok("ps", "-aq", "--no-trunc")).split("\n").filter(Boolean);
    if (all.length > 0) await engine.ok("rm", "-f", ...all);
    await noLeaks();
  });
});
