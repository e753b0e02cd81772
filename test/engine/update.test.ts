import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const ROOT = "/sys/fs/cgroup";

/** Directories of this name below a hierarchy's `inro`. */
const cgroupsOf = (id: string) =>
  [ROOT, ...readdirSync(ROOT).map((name) => join(ROOT, name))].filter((root) => existsSync(join(root, "inro", id)));

describe.skipIf(why !== "")(`update${why && ` (${why})`}`, () => {
  const engine = engineForTests();

  test("a limit that the container had none of before goes with it", async () => {
    const id = await engine.ok("run", "-d", "busybox", "sleep", "1000");
    const before = cgroupsOf(id);
    expect(before.length).toBeGreaterThan(0);
    await engine.ok("update", "--pids-limit", "50", "--memory", "64m", "--memory-swap", "64m", id);
    expect(await engine.ok("exec", id, "sh", "-c", "cat /proc/self/cgroup")).toContain("/");
    await engine.ok("rm", "-f", id);
    expect(cgroupsOf(id)).toEqual([]);
  });
});
