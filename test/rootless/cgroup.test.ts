import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chownSync, existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { detectHierarchy } from "../../src/cgroups/hierarchy.ts";
import { hasBusybox, isRoot, ROOTLESS, TestEngine } from "../harness.ts";
import { cannotRun, GID, noSubordinateIds, UID } from "../runtime/rootless/user.ts";

// Each is many commands, and some of them start an engine.
setDefaultTimeout(120_000);

const unified = detectHierarchy().unified;
const why = !isRoot
  ? "needs root, who delegates"
  : unified === undefined
    ? "no cgroup2 is mounted"
    : hasBusybox
      ? (cannotRun ?? noSubordinateIds)
      : "no busybox-static";

describe.skipIf(why !== undefined)(`a delegated cgroup${why ? ` (skipped: ${why})` : ""}`, () => {
  const directory = join(unified ?? "/", `inro-test-${process.pid}`);
  const engine = new TestEngine([], { rootless: { ...ROOTLESS, cgroups: [join(directory, "cgroup.procs")] } });

  beforeAll(async () => {
    mkdirSync(directory);
    for (const file of ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"])
      chownSync(join(directory, file), UID, GID);
    await engine.start();
    await engine.busybox();
  });
  afterAll(async () => {
    await engine.stop();
    for (const path of [join(directory, "engine"), directory]) if (existsSync(path)) rmdirSync(path);
  });

  const cgroupOf = (pid: number) => /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))![1]!;

  test("holds the containers, beside the engine; they can be paused, and their execs are in it", async () => {
    const id = await engine.ok("run", "-d", "--name", "held", "busybox", "sleep", "1000");
    const pid = Number(await engine.ok("inspect", "-f", "{{.State.Pid}}", "held"));
    const own = `${directory.slice(unified!.length)}/inro/${id}`;
    expect(cgroupOf(pid)).toBe(own);
    expect(cgroupOf(engine.pid)).toBe(`${directory.slice(unified!.length)}/engine`);
    await engine.ok("pause", "held");
    expect(readFileSync(`${unified}${own}/cgroup.events`, "utf8")).toContain("frozen 1");
    await engine.ok("unpause", "held");
    expect(await engine.ok("exec", "held", "sh", "-c", "cat /proc/self/cgroup")).toContain("0::/");
    expect(await engine.ok("top", "held")).toContain("sleep 1000");
    await engine.kill();
    await engine.start();
    await engine.ok("pause", "held");
    await engine.ok("rm", "-f", "held");
    expect(existsSync(`${unified}${own}`)).toBe(false);
  });
});
