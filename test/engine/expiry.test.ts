import { describe, expect, test } from "bun:test";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`time to live${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const end = (name: string) => engine.ok("wait", name);

  test("--ttl ends a run in the foreground, and --rm takes it away", async () => {
    const run = ["run", "--rm", "--name", "brief", "--ttl", "200ms", "--stop-timeout", "0", "busybox", "sleep", "1000"];
    expect((await engine.inro(run)).code).toBe(137);
    expect((await engine.inro(["inspect", "brief"])).code).toBe(1);
  });

  test("--idle-ttl, and update --ttl", async () => {
    const run = (name: string, ...flags: string[]) =>
      engine.ok("run", "-d", "--name", name, "--stop-timeout", "0", ...flags, "busybox", "sleep", "1000");
    await run("unused", "--idle-ttl", "200ms");
    expect(await end("unused")).toBe("137");
    await run("lasts");
    await engine.ok("update", "--ttl", "50ms", "lasts");
    expect(await end("lasts")).toBe("137");
    expect(await engine.ok("inspect", "-f", "{{.HostConfig.IdleTTL}}", "unused")).toBe("200000000");
    await engine.ok("rm", "unused", "lasts");
  });

  test("kill -9 of the engine: the next one keeps the time, also when it is over by then", async () => {
    await engine.ok("run", "-d", "--name", "web", "--stop-timeout", "0", "--ttl", "1s", "busybox", "sleep", "1000");
    await engine.kill("SIGKILL");
    await engine.start();
    expect(await end("web")).toBe("137");
    const lived = await engine.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "web");
    const [started = 0, finished = 0] = lived.split(" ").map(Date.parse);
    expect(finished - started).toBeGreaterThan(900);
    await engine.ok("rm", "web");
  });
});
