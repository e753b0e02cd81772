import { describe, expect, test } from "bun:test";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`restart policies${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const field = (name: string, template: string) => engine.ok("inspect", "-f", template, name);
  /** The next end of a run, from now on. */
  const nextExit = async (name: string) =>
    (await engine.api("POST", `/containers/${name}/wait?condition=next-exit`)).json();
  /** Waits until its log has the lines of so many runs; a follower ends with each. */
  const logged = async (name: string, runs: number) => {
    for (let lines = 0; lines < runs; ) {
      lines = 0;
      const follow = engine.spawn(["logs", "-f", name]);
      for await (const chunk of follow.stdout as ReadableStream<Uint8Array>) {
        for (const byte of chunk) if (byte === 10) lines++;
        if (lines >= runs) break;
      }
      follow.kill();
      await follow.exited;
    }
  };

  test("a foreground run gives the status of its first run, and the container goes on until it is stopped", async () => {
    const run = await engine.inro([
      "run",
      "--restart",
      "always",
      "--name",
      "web",
      "busybox",
      "sh",
      "-c",
      "echo run; exit 4",
    ]);
    expect(run).toEqual({ code: 4, stdout: "run\n", stderr: "" });
    await logged("web", 3);
    await engine.ok("stop", "web");
    expect(await field("web", "{{.State.Status}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}")).toBe(
      "exited 4 always",
    );
    expect(Number(await field("web", "{{.RestartCount}}"))).toBeGreaterThanOrEqual(2);
    await engine.ok("rm", "web");
  });

  test("kill -9 of the engine: what waited goes on, what ended meanwhile is restarted, what was stopped stays so", async () => {
    await engine.ok(
      "run",
      "-d",
      "--restart",
      "on-failure",
      "--name",
      "loop",
      "busybox",
      "sh",
      "-c",
      "echo run; exit 4",
    );
    await engine.ok(
      "run",
      "-d",
      "--restart",
      "unless-stopped",
      "--name",
      "ended",
      "busybox",
      "sh",
      "-c",
      "echo run; sleep 1000",
    );
    for (const policy of ["unless-stopped", "always"]) {
      await engine.ok("run", "-d", "--restart", policy, "--name", policy, "busybox", "sleep", "1000");
      await engine.ok("stop", "-t", "0", policy);
    }
    await engine.ok("update", "--restart", "always", "loop");
    await logged("loop", 3);
    const pid = Number(await field("ended", "{{.State.Pid}}"));
    await engine.kill("SIGKILL");
    process.kill(pid, "SIGKILL");
    await engine.start();
    await logged("ended", 2);
    await logged("loop", 4);
    expect(Number(await field("loop", "{{.RestartCount}}"))).toBeGreaterThanOrEqual(3);
    expect(await field("ended", "{{.RestartCount}} {{.State.ExitCode}}")).toBe("1 0");
    while ((await field("always", "{{.State.Status}}")) !== "running") await engine.api("GET", "/_ping");
    expect(await field("unless-stopped", "{{.State.Status}}")).toBe("exited");
    await engine.ok("update", "--restart", "no", "ended");
    const exit = nextExit("ended");
    await engine.ok("kill", "ended");
    expect(await exit).toMatchObject({ StatusCode: 137 });
    await engine.ok("rm", "-f", "loop", "ended", "always", "unless-stopped");
  });

  test("update says docker's words", async () => {
    await engine.ok("create", "--rm", "--name", "once", "busybox", "true");
    const update = await engine.inro(["update", "--restart", "always", "once"]);
    expect(update).toMatchObject({ code: 1, stdout: "" });
    expect(update.stderr).toContain("Restart policy cannot be updated because AutoRemove is enabled for the container");
    expect((await engine.inro(["update", "--restart", "sometimes", "once"])).stderr).toContain(
      "unknown policy 'sometimes'",
    );
    await engine.ok("rm", "once");
  });
});
