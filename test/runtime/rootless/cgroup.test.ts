import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { detectHierarchy } from "../../../src/cgroups/hierarchy.ts";
import { eventually } from "../bundle.ts";
import { asRoot, cannotRun, GID, PlainRuntime, UID } from "./user.ts";

const hierarchy = detectHierarchy();
const why = cannotRun ?? (!asRoot ? "not root, who delegates" : hierarchy.unified ? undefined : "no cgroup2");

/** A cgroup that is the user's (cgroup-v2.rst, "Delegation"), and one in it for the caller of the runtime. */
describe.skipIf(why !== undefined)(`rootless: delegated cgroups${why ? ` (skipped: ${why})` : ""}`, () => {
  const name = `inro-rootless-${process.pid}`;
  const unified = join(hierarchy.unified ?? "", name);
  const controllers = ["pids", "memory"].map((controller) =>
    join(hierarchy.controllers.get(controller) ?? "/none", name),
  );
  const all = [...new Set([unified, ...controllers])];
  let runtime: PlainRuntime;

  beforeAll(() => {
    for (const directory of all) {
      mkdirSync(directory);
      if (hierarchy.mode === "v2") writeFileSync(join(directory, "cgroup.subtree_control"), "+pids +memory");
      for (const file of ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"]) {
        const path = join(directory, file);
        if (existsSync(path)) chownSync(path, UID, GID);
      }
    }
    const session = join(unified, "session");
    mkdirSync(session);
    chownSync(session, UID, GID);
    chownSync(join(session, "cgroup.procs"), UID, GID);
    runtime = new PlainRuntime({ cgroups: [join(session, "cgroup.procs")] });
  });
  afterAll(async () => {
    await runtime.close();
    rmdirSync(join(unified, "session"));
    for (const directory of all) rmdirSync(directory);
  });
  const inside = (directory: string) =>
    readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== "session")
      .map((entry) => entry.name);

  test("limits, ps, pause, update, stats, kill --all, and nothing left", async () => {
    const bundle = runtime.bundle("sleep 1000 & exec sleep 1000", (s) => {
      s.linux.resources = { pids: { limit: 20 }, memory: { limit: 64 << 20 } };
    });
    await runtime.ok("run", "-d", "-b", bundle, "limited");
    const { pid } = await runtime.status("limited");
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`0::/${name}/limited\n`);
    expect(readFileSync(join(controllers[0]!, "limited/pids.max"), "utf8")).toBe("20\n");
    const memory = hierarchy.mode === "v2" ? "memory.max" : "memory.limit_in_bytes";
    expect(readFileSync(join(controllers[1]!, "limited", memory), "utf8")).toBe(`${64 << 20}\n`);
    const processes = async () => JSON.parse(await runtime.ok("ps", "--format", "json", "limited")) as number[];
    await eventually("both sleep", async () => (await processes()).length === 2);
    await runtime.ok("exec", "--detach", "limited", "sleep", "1000");
    expect(await processes()).toHaveLength(3);

    await runtime.ok("pause", "limited");
    expect((await runtime.status("limited")).status).toBe("paused");
    expect((await runtime.run(["exec", "limited", "true"])).err).toContain("cannot exec in a paused container");
    await runtime.ok("resume", "limited");
    expect((await runtime.run(["exec", "limited", "id", "-u"])).out).toBe("0\n");
    // From a cgroup that lies elsewhere.
    runtime.options = {};
    const far = await runtime.run(["exec", "limited", "cat", "/proc/self/cgroup"]);
    runtime.options = { cgroups: [join(unified, "session/cgroup.procs")] };
    expect(far).toMatchObject({ code: 0, err: expect.stringContaining("the process stays in its caller's cgroup") });
    expect(far.out).toMatch(/^0::\/(\.\.\/)+\.*$/m);
    await runtime.ok("update", "--pids-limit", "30", "limited");
    expect(readFileSync(join(controllers[0]!, "limited/pids.max"), "utf8")).toBe("30\n");
    expect(JSON.parse(await runtime.ok("events", "--stats", "limited")).data.pids).toMatchObject({ limit: 30 });

    await runtime.ok("kill", "--all", "limited", "KILL");
    await eventually("it stops", async () => (await runtime.status("limited")).status === "stopped");
    await runtime.ok("delete", "limited");
    expect(all.flatMap(inside)).toEqual([]);
  });

  test("kill --all and delete --force of one that shares its caller's pids", async () => {
    const bundle = runtime.bundle("sleep 1000 & exec sleep 1000", (s) => {
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "pid");
      s.mounts = s.mounts!.map((m) =>
        m.destination === "/proc" ? { ...m, type: "bind", source: "/proc", options: ["rbind"] } : m,
      );
      s.linux.maskedPaths = [];
      s.linux.readonlyPaths = [];
    });
    await runtime.ok("run", "-d", "-b", bundle, "shared");
    const procs = join(unified, "shared/cgroup.procs");
    await eventually("both sleep", () => readFileSync(procs, "utf8").trim().split("\n").length === 2);
    await runtime.ok("delete", "--force", "shared");
    expect(all.flatMap(inside)).toEqual([]);
  });

  // All of v2 is delegated together.
  test.skipIf(hierarchy.mode === "v2")("a limit that is not delegated is an error, and nothing is left", async () => {
    const bundle = runtime.bundle("true", (s) => {
      s.linux.resources = { cpu: { weight: 50, shares: 100 } } as never;
    });
    const { code, err } = await runtime.run(["run", "-b", bundle, "cpu"]);
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("rootless needs no limits + no cgrouppath"),
    });
    expect(all.flatMap(inside)).toEqual([]);
  });

  test("from within the delegated cgroup itself, a container is in it", async () => {
    runtime.options = { cgroups: [join(unified, "cgroup.procs")] };
    // With processes in it, v2 passes no controller on.
    const controls = join(unified, "cgroup.subtree_control");
    const passed = hierarchy.mode === "v2" ? readFileSync(controls, "utf8").trim().split(" ") : [];
    if (passed.length > 0) writeFileSync(controls, passed.map((controller) => `-${controller}`).join(" "));
    try {
      await runtime.ok("run", "-d", "-b", runtime.bundle("exec sleep 1000"), "within");
      const { pid } = await runtime.status("within");
      expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`0::/${name}/within\n`);
      await runtime.ok("pause", "within");
      await runtime.ok("delete", "--force", "within");
    } finally {
      runtime.options = { cgroups: [join(unified, "session/cgroup.procs")] };
      if (passed.length > 0) writeFileSync(controls, passed.map((controller) => `+${controller}`).join(" "));
    }
    expect(all.flatMap(inside)).toEqual([]);
  });

  test("without a cgroup of its own: only its caller's is in sight", async () => {
    const other = join(hierarchy.unified!, `${name}-other`);
    for (const directory of [other, join(other, "below")]) mkdirSync(directory);
    runtime.options = { cgroups: [join(other, "cgroup.procs")] };
    try {
      const at = hierarchy.mode === "v2" ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
      const script = `cat /proc/self/cgroup | tail -1; ls -d ${at}/*/; touch /sys/fs/cgroup/x || mkdir ${at}/x || echo no`;
      const { code, out } = await runtime.run(["run", "-b", runtime.bundle(script), "seen"]);
      expect({ code, out }).toEqual({ code: 0, out: `0::/\n${at}/below/\nno\n` });
    } finally {
      runtime.options = { cgroups: [join(unified, "session/cgroup.procs")] };
      for (const directory of [join(other, "below"), other]) rmdirSync(directory);
    }
  });

  test("a path that lies elsewhere than its caller: who must be asked", async () => {
    runtime.options = {};
    try {
      const bundle = runtime.bundle("true", (s) => {
        s.linux.cgroupsPath = `/${name}/far`;
      });
      const { code, err } = await runtime.run(["run", "-b", bundle, "far"]);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("is not delegated to this user") });
    } finally {
      runtime.options = { cgroups: [join(unified, "session/cgroup.procs")] };
    }
    expect(all.flatMap(inside)).toEqual([]);
  });
});
