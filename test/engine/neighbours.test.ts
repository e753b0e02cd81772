import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { markOwner, ownerOf } from "../../src/cgroups/owner.ts";
import { command, engineForTests, hasBusybox, isRoot, TestEngine } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

/** Resolves when a process is dead; whose child it was, may still have to reap it. */
async function ended(pid: number): Promise<void> {
  const lives = () => {
    try {
      return !readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
    } catch {
      return false;
    }
  };
  while (lives()) await Bun.sleep(2);
}

describe.skipIf(why !== "")(`what an engine owns${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const check = async (...flags: string[]) => {
    const { code, stdout } = await engine.inro(["system", "check", "--json", ...flags]);
    return {
      code,
      findings: JSON.parse(stdout) as { kind: string; object: string; problem: string; repaired: boolean }[],
    };
  };

  test("two engines side by side: neither sees, ends, checks or mends what is the other's", async () => {
    const other = await (await new TestEngine().start()).busybox();
    await engine.ok("run", "-d", "--name", "mine", "busybox", "sleep", "1000");
    await other.ok("run", "-d", "--name", "mine", "-m", "64m", "busybox", "sleep", "1000");
    const pids = [engine, other].map((one) => one.ok("inspect", "-f", "{{.State.Pid}}", "mine"));
    const [a, b] = await Promise.all(pids);
    expect(await engine.ok("ps", "-q")).not.toBe(await other.ok("ps", "-q"));
    await other.kill("SIGKILL");
    expect(await check("--repair")).toEqual({ code: 0, findings: [] });
    await other.start();
    expect((await other.inro(["system", "check", "--repair"])).stdout).toBe("no leaks found\n");
    await engine.kill("SIGKILL");
    expect((await other.inro(["system", "check", "--repair"])).stdout).toBe("no leaks found\n");
    await other.stop();
    await ended(Number(b));
    expect(existsSync(`/proc/${a}`)).toBe(true);
    await engine.start();
    expect(await engine.ok("exec", "mine", "echo", "alive")).toBe("alive");
    await engine.ok("rm", "-f", "mine");
  });

  test("a second engine on the same directories says who has them, and leaves the first its socket", async () => {
    for (const [data, exec] of [
      [engine.dataRoot, join(engine.dir, "exec2")],
      [join(engine.dir, "data2"), engine.execRoot],
    ] as const) {
      const roots = ["--data-root", data, "--exec-root", exec];
      const second = Bun.spawn([...command, "serve", "--bridge", "none", "--host", engine.host, ...roots], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const stderr = await new Response(second.stderr).text();
      expect(await second.exited).not.toBe(0);
      expect(stderr).toMatch(new RegExp(`is in use by another engine \\(pid ${engine.pid}\\)`));
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    }
    expect(await (await engine.api("GET", "/_ping")).text()).toBe("OK");
  });

  test("planted leaks are found, mended, and gone", async () => {
    const lost = "d".repeat(64);
    await engine.ok("create", "--name", "known", "busybox", "true");
    const known = await engine.ok("inspect", "-f", "{{.Id}}", "known");
    // A container that runs on without a record: keeper, cgroup, run directory, layer.
    await engine.ok("run", "-d", "--name", "forgotten", "busybox", "sleep", "1000");
    const [id, pid] = (await engine.ok("inspect", "-f", "{{.Id}} {{.State.Pid}}", "forgotten")).split(" ") as [
      string,
      string,
    ];
    const running = ["/sys/fs/cgroup/unified/inro", "/sys/fs/cgroup/inro"].find((dir) => existsSync(join(dir, id)));
    expect(running && ownerOf(join(running, id))).toBe(engine.dataRoot);
    await engine.kill("SIGKILL");
    const db = new Database(join(engine.dataRoot, "inro.db"));
    db.run("DELETE FROM containers WHERE id = ?", [id]);
    db.close();
    await engine.start();

    const cgroups = ["/sys/fs/cgroup/unified/inro", "/sys/fs/cgroup/inro", "/sys/fs/cgroup/pids/inro"].filter((dir) =>
      existsSync(dir),
    );
    for (const dir of cgroups) mkdirSync(join(dir, known), { recursive: true });
    mkdirSync(join(engine.dataRoot, "containers", lost, "upper/some/file"), { recursive: true });
    mkdirSync(join(engine.execRoot, "containers", lost));
    for (const dir of cgroups) mkdirSync(join(dir, lost));
    mkdirSync(join(engine.dataRoot, "volumes/lost/_data"), { recursive: true });
    const point = join(engine.dataRoot, "tmp/a mount point");
    mkdirSync(point);
    expect(Bun.spawnSync(["mount", "-t", "tmpfs", "inro-test", point]).exitCode).toBe(0);
    // What is not the engine's own is none of its business.
    const foreign = join(cgroups[0]!, "e".repeat(64));
    mkdirSync(foreign);
    markOwner(foreign, `${engine.dataRoot}-of-another`);
    // Nothing but this is left of its container.
    const orphan = join(cgroups[0]!, "f".repeat(64));
    mkdirSync(orphan);
    markOwner(orphan, engine.dataRoot);

    const { code, findings } = await check();
    const found = findings.map(({ kind, object }) => `${kind} ${object}`);
    const expected = [
      ...cgroups.map((dir) => `cgroup ${join(dir, known)}`),
      `cgroup ${orphan}`,
      `run-directory ${join(engine.execRoot, "containers", lost)}`,
      `container-directory ${join(engine.dataRoot, "containers", lost)}`,
      `container-directory ${join(engine.dataRoot, "containers", id)}`,
      `volume ${join(engine.dataRoot, "volumes/lost")}`,
      `mount ${point}`,
    ];
    expect(code).toBe(1);
    expect(found).toEqual(expect.arrayContaining(expected));
    expect(found.join("\n")).not.toContain("e".repeat(64));
    expect((await engine.inro(["system", "check"])).stdout.trimEnd().split("\n")).toHaveLength(found.length);

    const mended = await check("--repair");
    expect(mended.code).toBe(0);
    expect(mended.findings.every(({ repaired }) => repaired)).toBe(true);
    expect(await check()).toEqual({ code: 0, findings: [] });
    await ended(Number(pid));
    for (const dir of cgroups)
      for (const one of [lost, known, id, "f".repeat(64)]) expect(existsSync(join(dir, one))).toBe(false);
    for (const one of [lost, id]) expect(readdirSync(join(engine.dataRoot, "containers"))).not.toContain(one);
    expect(existsSync(foreign)).toBe(true);
    rmdirSync(foreign);
    await engine.ok("rm", "known");
  });

  test("an engine with an idle time leaves after its last container, not before, and records how that ended", async () => {
    const short = await new TestEngine(["--idle-timeout", "1s"]).start();
    await short.busybox();
    const id = await short.ok("run", "-d", "busybox", "sh", "-c", "sleep 2; exit 3");
    expect(await short.ended()).toBe(0);
    expect(short.log).toContain("engine leaves: idle");
    const left = Date.parse(/^(\S+) engine leaves/m.exec(short.log)![1]!);
    await short.start();
    expect(await short.ok("inspect", "-f", "{{.State.ExitCode}}", id)).toBe("3");
    const finished = Date.parse(await short.ok("inspect", "-f", "{{.State.FinishedAt}}", id));
    expect(left - finished).toBeGreaterThan(700);
    await short.stop();
  });

  test("the socket is for its owner alone; a stale one is replaced", async () => {
    expect(statSync(engine.socket).mode & 0o7777).toBe(0o660);
    await engine.kill("SIGKILL");
    expect(existsSync(engine.socket)).toBe(true);
    await engine.start();
    await engine.kill("SIGTERM");
    expect(existsSync(engine.socket)).toBe(false);
    writeFileSync(engine.socket, "");
    await engine.start();
    expect(await engine.ok("ps", "-q")).toBe("");
  });
});
