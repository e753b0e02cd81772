import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot, TestEngine } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`the life of a container${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const field = (name: string, template: string) => engine.ok("inspect", "-f", template, name);
  /** Status and message of a request. */
  const ask = async (method: string, path: string, body?: unknown): Promise<[number, string]> => {
    const response = await engine.api(method, path, body);
    const text = await response.text();
    return [response.status, text === "" ? "" : (JSON.parse(text) as { message: string }).message];
  };
  const says = async (name: string, text: string) => {
    while (!(await engine.ok("logs", name)).includes(text)) await engine.api("GET", "/_ping");
  };

  test("start: what it answers in each state, and to what it does not take", async () => {
    await engine.ok("create", "--name", "web", "busybox", "sleep", "1000");
    const start = "/containers/web/start";
    expect(await ask("POST", start, { HostConfig: {} })).toEqual([
      400,
      "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
    ]);
    expect((await ask("POST", `${start}?checkpoint=one`))[0]).toBe(501);
    expect(await ask("POST", start, {})).toEqual([204, ""]);
    expect((await ask("POST", start))[0]).toBe(304);
    await engine.ok("pause", "web");
    expect(await ask("POST", start)).toEqual([409, "cannot start a paused container, try unpause instead"]);
    // A paused one is thawed for its stop.
    await engine.ok("stop", "-t", "0", "web");
    expect(await field("web", "{{.State.Status}} {{.State.Paused}}")).toBe("exited false");
    await engine.ok("rm", "web");
    expect((await ask("POST", start))[0]).toBe(404);
  });

  test("--stop-signal, --stop-timeout, and -1, which never kills", async () => {
    const script = "trap 'echo asked' INT TERM; echo ready; while :; do sleep 0.05; done";
    await engine.ok(
      "run",
      "-d",
      "--name",
      "kind",
      "--stop-signal",
      "INT",
      "--stop-timeout",
      "-1",
      "busybox",
      "sh",
      "-c",
      script,
    );
    await says("kind", "ready");
    const stopping = engine.inro(["stop", "kind"]);
    await says("kind", "asked");
    expect(await field("kind", "{{.State.Running}} {{.Config.StopTimeout}}")).toBe("true -1");
    await engine.ok("kill", "kind");
    expect(await stopping).toMatchObject({ code: 0, stdout: "kind\n" });
    await engine.ok("start", "kind");
    await engine.ok("stop", "-s", "TERM", "-t", "0", "kind");
    expect(await field("kind", "{{.State.ExitCode}}")).toBe("137");
    await engine.ok("rm", "kind");
  });

  test("--oom-score-adj is that of its first process and of its execs", async () => {
    await engine.ok("run", "-d", "--name", "spare", "--oom-score-adj", "321", "busybox", "sleep", "1000");
    const score = (pid: string) => readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim();
    expect(score(await field("spare", "{{.State.Pid}}"))).toBe("321");
    expect(await engine.ok("exec", "spare", "cat", "/proc/self/oom_score_adj")).toBe("321");
    await engine.ok("rm", "-f", "spare");
    const wrong = await engine.inro(["create", "--oom-score-adj", "1001", "busybox", "true"]);
    expect(wrong.stderr).toContain("range for oom score adj is [-1000, 1000]");
  });

  test("a volume stays while a container has it, also one that does not run", async () => {
    await engine.ok("create", "--name", "keeps", "-v", "kept:/data", "busybox", "true");
    const [status, message] = await ask("DELETE", "/volumes/kept");
    expect([status, message]).toEqual([409, expect.stringContaining("volume is in use")]);
    expect((await ask("DELETE", "/volumes/kept?force=1"))[0]).toBe(409);
    await engine.ok("rm", "keeps");
    expect((await ask("DELETE", "/volumes/kept"))[0]).toBe(204);
  });
});

describe.skipIf(why !== "")(`an engine that may leave${why && ` (${why})`}`, () => {
  test("waits for a restart that is due, and comes back without starting what was stopped", async () => {
    const engine = await new TestEngine(["--idle-timeout", "500ms"]).start();
    /** A listener keeps it here, however slow the machine is. */
    const hold = async () => {
      const { body } = await engine.api("GET", "/events");
      return () => body?.cancel();
    };
    let letGo = await hold();
    await engine.busybox();
    await engine.ok("run", "-d", "--restart", "always", "--name", "stopped", "busybox", "sleep", "1000");
    await engine.ok("stop", "-t", "0", "stopped");
    const id = await engine.ok("run", "-d", "--restart", "on-failure:4", "busybox", "sh", "-c", "echo run; exit 1");
    await letGo();
    // Its fourth restart is 800 ms after the end before, and nobody asks the engine anything meanwhile.
    expect(await engine.ended()).toBe(0);
    const log = readFileSync(join(engine.dataRoot, "containers", id, `${id}-json.log`), "utf8");
    expect(log.trimEnd().split("\n")).toHaveLength(5);
    await engine.start();
    letGo = await hold();
    expect(await engine.ok("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", id)).toBe("exited 4");
    expect(await engine.ok("inspect", "-f", "{{.State.Status}}", "stopped")).toBe("exited");
    // Not so after a signal: that is docker's restart of its daemon.
    await engine.kill("SIGTERM");
    await engine.start();
    letGo = await hold();
    while ((await engine.ok("inspect", "-f", "{{.State.Status}}", "stopped")) !== "running");
    await engine.stop();
    await letGo();
  });
});
