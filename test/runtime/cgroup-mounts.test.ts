import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cannotRun } from "./bundle.ts";
import { type Change, MountRuntime } from "./mount-bundle.ts";

describe.skipIf(cannotRun !== undefined)(`cgroup mounts${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: MountRuntime;
  beforeAll(() => {
    runtime = new MountRuntime();
  });
  afterAll(() => runtime.close());
  const run: MountRuntime["mount"] = (...args) => runtime.mount(...args);

  const limited: Change = (s) => {
    s.linux.resources = { ...s.linux.resources, pids: { limit: 50 } };
  };
  const rw: Change = (s) => {
    limited(s);
    s.mounts = s.mounts!.map((m) => (m.type === "cgroup" ? { ...m, options: ["nosuid", "noexec", "nodev"] } : m));
  };
  /** The hierarchies of v1 and hybrid lie beside each other; v2 is one. */
  const pure = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const pids = pure ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";

  test.each<[string, Change]>([
    ["with a namespace", limited],
    [
      "without one",
      (s) => {
        limited(s);
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "cgroup");
      },
    ],
  ])("the container sees its own directories, and cannot write: %s", async (_, change) => {
    const { out, err } = await run(
      `cat ${pids}/pids.max ${pids}/cgroup.procs; mkdir ${pids}/x; touch /sys/fs/cgroup/x`,
      [],
      undefined,
      change,
    );
    expect(out).toMatch(/^50\n1\n/);
    expect(err.match(/Read-only file system/g)).toHaveLength(2);
  });

  test("without `ro` it may make groups of its own", async () => {
    const { out, err } = await run(`mkdir ${pids}/x && rmdir ${pids}/x && echo ok`, [], undefined, rw);
    expect([out, err]).toEqual(["ok\n", ""]);
  });

  test("nothing of other groups is in sight", async () => {
    const own = new Set((await run("ls /sys/fs/cgroup", [], undefined, limited)).out.trim().split("\n"));
    if (!pure) for (const name of own) expect(existsSync(`/sys/fs/cgroup/${name}`)).toBe(true);
    const { out } = await run(`ls -d ${pids}/*/ 2>/dev/null | wc -l`, [], undefined, limited);
    expect(out).toBe("0\n");
  });

  test("cgroup2 by its name is the container's own directory", async () => {
    const { out } = await run(
      "cat /c/cgroup.procs; ls -d /c/*/ 2>/dev/null | wc -l",
      [{ destination: "/c", type: "cgroup2", source: "cgroup", options: ["ro"] }],
      undefined,
      limited,
    );
    expect(out).toMatch(/^1\n(\d+\n)*0\n$/);
  });

  test("flags of the mount, the kind of atime among them", async () => {
    const { out } = await run("cat /proc/self/mountinfo", [], undefined, (s) => {
      s.mounts = s.mounts!.map((m) => (m.type === "cgroup" ? { ...m, options: ["ro", "nosuid", "noatime"] } : m));
    });
    const below = out.split("\n").filter((line) => / \/sys\/fs\/cgroup\S* /.test(line));
    expect(below.length).toBeGreaterThan(0);
    for (const line of below) expect(line.split(" ")[5]).toBe("ro,nosuid,noatime");
  });
});
