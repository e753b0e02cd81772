import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";
import { until } from "./until.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const dir = temporary();
const file = join(dir, "daemon.json");
const socket = join(dir, "limited.sock");
afterAll(() => rmSync(dir, { recursive: true }));

const write = (config: unknown) => writeFileSync(file, typeof config === "string" ? config : JSON.stringify(config));

async function validate(config: unknown, ...flags: string[]): Promise<[number, string]> {
  write(config);
  const child = Bun.spawn([...command, "serve", "--validate", "--config-file", file, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [text, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  return [code, text];
}

test.each([
  [{}, []],
  [{ labels: ["a=b"], "log-driver": "local", "log-opts": { "max-size": "1m" }, "live-restore": true }, []],
  [
    { sockets: [{ path: "/x.sock", allow: ["read-only"], memory: 1 << 30 }], "default-shm-size": "64m" },
    ["--label", "c=d"].slice(2),
  ],
])("--validate: %o is right", async (config, flags) => {
  expect(await validate(config, ...flags)).toEqual([0, "configuration OK\n"]);
});

test.each([
  ["{ no", [], "JSON"],
  ["[]", [], "must be a JSON object"],
  [{ lables: ["a=b"] }, [], 'unknown key "lables" (did you mean labels?)'],
  [{ "userns-remap": "x" }, [], "userns-remap is not supported: a container has its own"],
  [{ mtu: 1500 }, [], "mtu is not supported"],
  [{ labels: "a=b" }, [], "labels: expected an array"],
  [{ labels: ["a"] }, [], "not key=value"],
  [{ labels: ["a=b"] }, ["--label", "c=d"], "both as a flag and in the configuration file"],
  [{ "live-restore": false }, [], "cannot be false"],
  [{ "seccomp-profile": "/x.json" }, [], "only builtin"],
  [{ "default-shm-size": "lots" }, [], "invalid size"],
  [{ "min-api-version": "9.9" }, [], "no version from"],
  [{ "insecure-registries": ["10.0.0.0/99"] }, [], "neither HOST[:PORT] nor a network"],
  [{ "registry-mirrors": ["ftp://x"] }, [], "invalid registry mirror"],
  [{ sockets: [{ path: "/x.sock", alow: [] }] }, [], "did you mean allow?"],
  [{ sockets: [{ path: "/x.sock", allow: ["all"], mount: ["/"] }] }, [], "the engine's own"],
  [{ hosts: ["tcp://127.0.0.1:1"] }, [], "client certificates"],
] as [unknown, string[], string][])("--validate: %o is refused", async (config, flags, message) => {
  const [code, text] = await validate(config, ...flags);
  expect([code === 0, text]).toEqual([false, expect.stringContaining(message)]);
});

describe.skipIf(why !== "")(`an engine with a configuration file${why && ` (${why})`}`, () => {
  const config = {
    labels: ["rack=7"],
    pidfile: join(dir, "pid"),
    "min-api-version": "1.44",
    "default-shm-size": "5m",
    "default-ulimits": { nofile: { Name: "nofile", Soft: 99, Hard: 100 } },
    "no-new-privileges": true,
    "cgroup-parent": "/inro-configured",
    "default-stop-timeout": 1,
    sockets: [{ path: socket, allow: ["containers"], label: "team=a" }],
  };
  let engine: TestEngine;
  beforeAll(async () => {
    write(config);
    engine = await new TestEngine(["--config-file", file]).start();
    await engine.busybox();
  });
  afterAll(async () => {
    await engine.stop();
    // A parent that was asked for is not the engine's to take away.
    for (const root of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]) {
      if (existsSync(join(root, "inro-configured"))) rmdirSync(join(root, "inro-configured"));
    }
  });

  /** The engine's answer to SIGHUP. */
  const reload = async (changed: unknown) => {
    const before = engine.log.length;
    write(changed);
    process.kill(engine.pid, "SIGHUP");
    const text = await until(join(engine.dir, "log"), (now) => /reload: .*\n/.test(now.slice(before)));
    return text.slice(before);
  };

  test("containers get what they do not say themselves", async () => {
    const script = "df -m /dev/shm | tail -1 | awk '{print $2}'; ulimit -n; grep NoNewPrivs /proc/self/status";
    expect((await engine.sh(script)).stdout).toBe("5\n99\nNoNewPrivs:\t1\n");
    expect(
      (
        await engine.sh(
          script,
          "--shm-size",
          "6m",
          "--ulimit",
          "nofile=50",
          "--security-opt",
          "no-new-privileges=false",
        )
      ).stdout,
    ).toBe("6\n50\nNoNewPrivs:\t0\n");
    // One that ignores the signal is killed a second later, not ten.
    const id = await engine.ok("run", "-d", "--label", "team=a", "busybox", "sleep", "1000");
    expect(await engine.ok("inspect", "-f", "{{.HostConfig.CgroupParent}}", id)).toBe("/inro-configured");
    // What the engine gave by itself keeps nobody with limited rights away.
    const answer = await fetch(`http://x/containers/${id}/stop`, { unix: socket, method: "POST" });
    expect(answer.status).toBe(204);
    await engine.ok("rm", id);
  });

  test("info, the process id, the oldest version", async () => {
    expect(await engine.ok("info", "-f", "{{.Labels}}")).toBe("[rack=7]");
    expect(readFileSync(join(dir, "pid"), "utf8")).toBe(`${engine.pid}\n`);
    expect((await fetch("http://x/v1.43/version", { unix: engine.socket })).status).toBe(400);
    expect((await fetch("http://x/v1.44/version", { unix: engine.socket })).status).toBe(200);
  });

  test("SIGHUP: what may change does, rights too; the rest is told; a wrong file changes nothing", async () => {
    const since = Math.floor(Date.now() / 1000);
    const rights = {
      ...config,
      labels: ["rack=8"],
      "default-shm-size": "7m",
      sockets: [{ ...config.sockets[0], allow: ["read-only"] }],
    };
    expect(await reload(rights)).toContain("reload: labels, default-shm-size, sockets changed");
    expect(await engine.ok("info", "-f", "{{.Labels}}")).toBe("[rack=8]");
    expect((await engine.sh("df -m /dev/shm | tail -1 | awk '{print $2}'")).stdout).toBe("7\n");
    expect((await fetch("http://x/containers/x/stop", { unix: socket, method: "POST" })).status).toBe(403);
    expect((await fetch("http://x/containers/json", { unix: socket })).status).toBe(200);
    const events = await engine.ok(
      "events",
      "--since",
      String(since),
      "--until",
      "0s",
      "--filter",
      "type=daemon",
      "--format",
      "{{json .}}",
    );
    expect(JSON.parse(events.split("\n")[0]!)).toMatchObject({
      Action: "reload",
      Actor: { Attributes: { labels: '["rack=8"]' } },
    });
    expect(await reload({ ...rights, "min-api-version": "1.45" })).toContain("min-api-version takes a restart");
    expect(await reload({ ...rights, sockets: [] })).toContain("sockets takes a restart");
    expect(await reload({ ...rights, lables: [] })).toContain("reload: nothing is changed: ");
    expect((await fetch("http://x/containers/json", { unix: socket })).status).toBe(200);
  });

  test("the process id goes with the engine", async () => {
    await engine.kill("SIGTERM");
    expect(existsSync(join(dir, "pid"))).toBe(false);
    write(config);
    await engine.start();
  });
});
