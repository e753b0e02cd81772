import { describe, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`health checks${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const field = (name: string, template: string) => engine.ok("inspect", "-f", template, name);
  const until = async (name: string, template: string, wanted: string) => {
    while ((await field(name, template)) !== wanted) await engine.api("GET", "/_ping");
  };

  test("the image's check is inherited, changed and switched off; ps and inspect show it", async () => {
    const tar = busyboxTar(engine.dir);
    const change = "HEALTHCHECK --interval=10ms --retries=1 CMD test -e /well";
    await engine.ok("import", "--change", change, tar, "checked");
    rmSync(tar);
    await engine.ok("run", "-d", "--name", "inherits", "checked", "sh", "-c", "touch /well; exec sleep 1000");
    await engine.ok("run", "-d", "--name", "changes", "--health-cmd", "echo no; exit 2", "checked", "sleep", "1000");
    await engine.ok("run", "-d", "--name", "none", "--no-healthcheck", "checked", "sleep", "1000");
    await until("inherits", "{{.State.Health.Status}}", "healthy");
    await until("changes", "{{.State.Health.Status}}", "unhealthy");
    expect(
      await field("changes", "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}"),
    ).toBe("2 no\n");
    expect(await field("none", "{{json .Config.Healthcheck.Test}} {{json .State.Health}}")).toBe('["NONE"] null');
    expect(await engine.ok("ps", "--filter", "health=healthy", "--format", "{{.Names}} {{.Status}}")).toMatch(
      /^inherits Up .* \(healthy\)$/,
    );
    expect(await engine.ok("ps", "-q", "--filter", "health=none", "--no-trunc")).toBe(await field("none", "{{.Id}}"));
    const list = async (version: string) => {
      const response = await fetch(`http://inro/v${version}/containers/json`, { unix: engine.socket });
      const all = (await response.json()) as { Names: string[]; Health?: object }[];
      return all.find(({ Names }) => Names[0] === "/none")?.Health;
    };
    expect([await list("1.51"), await list("1.52")]).toEqual([undefined, { Status: "none", FailingStreak: 0 }]);
    await engine.ok("rm", "-f", "inherits", "changes", "none");
  });

  test("probes that need no program in the image", async () => {
    const serve = "echo yes > /tmp/ok; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    const flags = ["--health-interval", "20ms", "--health-retries", "1"];
    const run = (name: string, ...more: string[]) =>
      engine.ok("run", "-d", "--name", name, ...flags, ...more, "busybox", "sh", "-c", serve);
    await run("http", "--health-http", "http://127.0.0.1:8080/ok");
    await run("tcp", "--health-tcp", "127.0.0.1:8080");
    await run("wrong", "--health-http", "http://127.0.0.1:8080/no");
    await until("http", "{{.State.Health.Status}}", "healthy");
    await until("tcp", "{{.State.Health.Status}}", "healthy");
    await until("wrong", "{{.State.Health.Status}}", "unhealthy");
    const refused = await engine.inro(["create", "--health-tcp", "db:5432", "busybox", "true"]);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toContain('healthcheck TCP "db:5432": expected an address and a port');
    await engine.ok("rm", "-f", "http", "tcp", "wrong");
  });

  test("kill -9 of the engine amid a probe: the next one ends that, keeps what is known, and goes on", async () => {
    const gate = join(engine.dir, "gate");
    const script = `if [ -e /gate/hang ]; then touch /gate/hangs; exec sleep 77777; fi; test -e /gate/well`;
    await engine.ok(
      "run",
      "-d",
      "--name",
      "web",
      "--health-cmd",
      script,
      "--health-interval",
      "20ms",
      "-v",
      `${gate}:/gate`,
      "busybox",
      "sh",
      "-c",
      "touch /gate/well; exec sleep 1000",
    );
    await until("web", "{{.State.Health.Status}}", "healthy");
    const pid = await field("web", "{{.State.Pid}}");
    await engine.ok("exec", "web", "touch", "/gate/hang");
    while (!existsSync(join(gate, "hangs"))) await Bun.sleep(2);
    await engine.kill("SIGKILL");
    rmSync(join(gate, "hang"));
    await engine.start();
    expect(await field("web", "{{.State.Pid}} {{.State.Health.Status}}")).toBe(`${pid} healthy`);
    rmSync(join(gate, "well"));
    await until("web", "{{.State.Health.Status}}", "unhealthy");
    await engine.kill("SIGTERM");
    await engine.start();
    expect(await field("web", "{{.State.Health.Status}}")).toBe("unhealthy");
    // Those of the engine that was killed are gone.
    const asleep = (await engine.ok("top", "web")).split("\n").filter((line) => line.includes("77777"));
    expect(asleep).toEqual([]);
    await engine.ok("rm", "-f", "web");
  });

  test("--restart-on-unhealthy", async () => {
    const sick = "echo >> /checks; test $(wc -l < /checks) -ge 3";
    await engine.ok(
      "run",
      "-d",
      "--name",
      "web",
      "--restart-on-unhealthy",
      "--health-cmd",
      sick,
      "--health-interval",
      "10ms",
      "--health-retries",
      "2",
      "--stop-timeout",
      "0",
      "busybox",
      "sleep",
      "1000",
    );
    await until("web", "{{.RestartCount}} {{.State.Health.Status}}", "1 healthy");
    await engine.ok("update", "--restart-on-unhealthy=false", "web");
    expect(await field("web", "{{.HostConfig.RestartOnUnhealthy}}")).toBe("false");
    await engine.ok("rm", "-f", "web");
  });
});
