import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { removeEmptyParent } from "../../src/cgroups/cgroup.ts";
import { cannotRun, Runtime } from "./bundle.ts";
import { hierarchy, isV1 } from "./cgroup-files.ts";

const PARENT = `/inro-test-exec-${process.pid}`;
const PATH = `${PARENT}/x`;

/** Controllers of cgroup2 that only a domain can have: where they are passed on, the cgroup takes no processes. */
const passed =
  cannotRun === undefined && hierarchy.unified !== undefined
    ? ["memory", "io", "hugetlb"].filter((name) => hierarchy.controllers.get(name) === hierarchy.unified)
    : [];

describe.skipIf(cannotRun !== undefined)(`exec --cgroup${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let pid: number;
  const roots = [...new Set([...hierarchy.controllers.values(), ...(hierarchy.unified ? [hierarchy.unified] : [])])];
  beforeAll(async () => {
    runtime = new Runtime();
    const bundle = runtime.bundle("exec sleep 1000", (spec) => {
      spec.linux.cgroupsPath = PATH;
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "cgroup") ?? [];
    });
    await runtime.ok("run", "-d", "-b", bundle, "x");
    pid = (await runtime.status("x")).pid;
    for (const root of roots) mkdirSync(`${root}${PATH}/sub`);
    if (isV1("cpuset")) {
      const directory = `${hierarchy.controllers.get("cpuset")}${PATH}`;
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        writeFileSync(`${directory}/sub/${file}`, readFileSync(`${directory}/${file}`));
      }
    }
  });
  afterAll(async () => {
    await runtime.close();
    removeEmptyParent(hierarchy, PARENT);
  });

  /** Where `cat` finds itself, by the controllers that are asked for (`0` is cgroup2). */
  const places = async (...flags: string[]) => {
    const lines = (await runtime.ok("exec", ...flags, "x", "cat", "/proc/self/cgroup")).trimEnd().split("\n");
    return new Map(lines.map((line) => [line.split(":")[1] || "0", line.slice(line.lastIndexOf(":") + 1)]));
  };

  test("the container's own without it", async () => {
    for (const [, path] of await places()) expect(path).toBe(PATH);
  });

  test("one below, in every hierarchy", async () => {
    for (const [, path] of await places("--cgroup", "sub")) expect(path).toBe(`${PATH}/sub`);
    for (const [, path] of await places("--cgroup", "/sub/")) expect(path).toBe(`${PATH}/sub`);
    for (const [, path] of await places("--cgroup", "/")) expect(path).toBe(PATH);
  });

  test.skipIf(hierarchy.mode === "v2")("one below for the controllers that are named (cgroup v1 only)", async () => {
    const found = await places("--cgroup", "memory,pids:sub", "--cgroup", "cpuset:/");
    expect([found.get("memory"), found.get("pids")]).toEqual([`${PATH}/sub`, `${PATH}/sub`]);
    expect([found.get("cpuset"), found.get("freezer")]).toEqual([PATH, PATH]);
    if (hierarchy.unified) expect(found.get("0")).toBe(PATH);
  });

  test.each([
    [["--cgroup", "nope"], "there is no cgroup"],
    [["--cgroup", "../x2"], "../x2 is not a sub cgroup path"],
    [["--cgroup", ".."], ".. is not a sub cgroup path"],
    [["--cgroup", "a:b:c"], "invalid --cgroup argument: a:b:c"],
    [["--cgroup", "sub", "--cgroup", "memory:sub"], "missing <controller>: prefix"],
    [["--cgroup", "memory:sub", "--cgroup", "memory:sub"], "controller memory specified multiple times"],
    [["--cgroup", "nope:sub"], "the container is in no cgroup of a controller nope"],
  ])("refuses %p", async (flags, message) => {
    const { code, err } = await runtime.run(["exec", ...flags, "x", "true"]);
    expect({ code, err }).toEqual({ code: 255, err: expect.stringContaining(message) });
  });

  test.skipIf(passed.length === 0)(
    "to the first process where the top takes none (needs a v2 controller)",
    async () => {
      const top = `${hierarchy.unified}${PATH}`;
      // All above must pass it on too.
      const control = (part: string) => `${hierarchy.unified}${part}/cgroup.subtree_control`;
      const had = readFileSync(control(""), "utf8").includes(passed[0]!);
      for (const part of ["", PARENT]) writeFileSync(control(part), `+${passed[0]}`);
      writeFileSync(`${top}/sub/cgroup.procs`, String(pid));
      writeFileSync(control(PATH), `+${passed[0]}`);
      expect((await places()).get("0")).toBe(`${PATH}/sub`);
      writeFileSync(control(PATH), `-${passed[0]}`);
      writeFileSync(control(PARENT), `-${passed[0]}`);
      if (!had) writeFileSync(control(""), `-${passed[0]}`);
    },
  );
});
