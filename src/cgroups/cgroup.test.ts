import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attachedPrograms, BPF_CGROUP_DEVICE } from "../linux/bpf.ts";
import type { DeviceRule } from "../spec/oci-runtime.ts";
import { Cgroup, listCgroups } from "./cgroup.ts";
import { loadedPrograms } from "./devices.ts";
import { detectHierarchy, type Hierarchy } from "./hierarchy.ts";

describe("on a plain directory tree", () => {
  const root = mkdtempSync(join(tmpdir(), "inro-cgroup-"));
  afterAll(() => rmSync(root, { recursive: true }));
  for (const name of ["memory", "pids", "unified", "freezer"]) mkdirSync(join(root, name));
  const controllers = new Map([
    ["memory", join(root, "memory")],
    ["pids", join(root, "pids")],
    ["freezer", join(root, "freezer")],
  ]);
  const v1: Hierarchy = { mode: "v1", root, controllers };
  const hybrid: Hierarchy = { mode: "hybrid", root, controllers, unified: join(root, "unified") };

  test("hybrid makes the cgroup2 directory and those that limits need", () => {
    mkdirSync(join(root, "pids/t/a"), { recursive: true });
    writeFileSync(join(root, "pids/t/a/pids.max"), "");
    const cgroup = Cgroup.create(hybrid, "/t/a", { pids: { limit: 3 } });
    expect(cgroup.paths()).toEqual([join(root, "unified/t/a"), join(root, "pids/t/a")]);
    expect(cgroup.unifiedDir).toBe(join(root, "unified/t/a"));
    expect(cgroup.joinFiles).toEqual([join(root, "pids/t/a/tasks")]);
    expect(readFileSync(join(root, "pids/t/a/pids.max"), "utf8")).toBe("3");
    expect(existsSync(join(root, "memory/t"))).toBe(false);
    expect(Cgroup.open(hybrid, "/t/a").paths()).toEqual(cgroup.paths());
    expect(listCgroups(hybrid, "/t")).toEqual(["/t/a"]);
  });

  test("v1 makes the freezer, which tells the processes", () => {
    expect(Cgroup.create(v1, "/u/b", {}).paths()).toEqual([join(root, "freezer/u/b")]);
  });

  test("a refused limit leaves nothing, and names the file, the value and the cause", () => {
    const create = () => Cgroup.create(hybrid, "/w/c", { memory: { limit: 5 }, pids: { limit: 3 } });
    const file = join(root, "memory/w/c/memory.limit_in_bytes");
    expect(create).toThrow(`write "5" to ${file}: ENOENT (this kernel has no such file)`);
    for (const name of ["memory", "pids", "unified"]) expect(existsSync(join(root, name, "w"))).toBe(false);
  });

  test("a limit whose controller is not there is unavailable, before anything is made", () => {
    const create = () => Cgroup.create(hybrid, "/x/d", { cpu: { shares: 5 } });
    expect(create).toThrow(expect.objectContaining({ kind: "unavailable" }));
    expect(create).toThrow("the cgroup controller cpu is not there");
    expect(existsSync(join(root, "unified/x"))).toBe(false);
  });

  test("a cgroup with processes is a conflict", () => {
    mkdirSync(join(root, "unified/y/e"), { recursive: true });
    writeFileSync(join(root, "unified/y/e/cgroup.procs"), "4711\n");
    expect(() => Cgroup.create(hybrid, "/y/e", {})).toThrow(expect.objectContaining({ kind: "conflict" }));
  });

  test.each([
    ["a/b", "must be a cgroup v2 file name"],
    ["../x.y", "must be a cgroup v2 file name"],
    ["cgroup.procs", "not a limit"],
    ["memory.max", "the cgroup controller memory is in cgroup v1 at"],
  ])("unified resource %s is refused", (file, why) => {
    expect(() => Cgroup.create(hybrid, "/z/f", { unified: { [file]: "1" } })).toThrow(why);
  });

  test("unified resources need cgroup v2", () => {
    expect(() => Cgroup.create(v1, "/z/f", { unified: { "memory.max": "1" } })).toThrow("need cgroup v2");
  });

  test("opening what does not exist is not found", () => {
    expect(() => Cgroup.open(hybrid, "/none")).toThrow(expect.objectContaining({ kind: "notFound" }));
  });
});

const NULL_ONLY: DeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
];

/** This machine's hierarchy, and where it has v1 controllers also those without the cgroup2 tree. */
function hierarchies(): [string, Hierarchy][] {
  const own = detectHierarchy();
  if (own.mode !== "hybrid") return [[own.mode, own]];
  const controllers = new Map([...own.controllers].filter(([, mountpoint]) => mountpoint !== own.unified));
  const found: [string, Hierarchy][] = [["hybrid", own]];
  if (controllers.has("freezer") && controllers.has("devices")) {
    found.push(["v1", { mode: "v1", root: own.root, controllers }]);
  }
  return found;
}

const root = process.getuid?.() === 0;
describe.skipIf(!root).each(root ? hierarchies() : [])("on this kernel, %s (needs root)", (mode, hierarchy) => {
  const parent = `/inro-test-${process.pid}-${mode}`;
  const running: ChildProcess[] = [];
  let count = 0;
  const path = () => `${parent}/${++count}`;
  const create = (resources = {}, options = {}) => Cgroup.create(hierarchy, path(), resources, options);

  beforeAll(() => void create());
  afterEach(async () => {
    for (const child of running.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await ended;
      }
    }
    for (const left of listCgroups(hierarchy, parent)) await Cgroup.open(hierarchy, left).remove();
  });
  afterAll(async () => {
    await Cgroup.open(hierarchy, parent).remove();
    expect(() => Cgroup.open(hierarchy, parent)).toThrow("no cgroup");
  });

  /** A shell in the cgroup that runs `script` once it is inside; its output and how it ended. */
  function shell(cgroup: Cgroup, script: string) {
    const child = spawn("sh", ["-c", `read -r go; ${script}`], { stdio: ["pipe", "pipe", "pipe"] });
    running.push(child);
    enter(cgroup, child.pid!);
    child.stdin.write("go\n");
    let text = "";
    const output = (async () => {
      for await (const chunk of child.stdout) text += chunk;
      return text;
    })();
    const line = () =>
      new Promise<string>((resolve) => child.stdout.once("data", (chunk) => resolve(String(chunk).trim())));
    const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
      child.once("close", (code, signal) => resolve({ code, signal })),
    );
    return { child, output, line, ended };
  }

  function enter(cgroup: Cgroup, pid: number): void {
    if (cgroup.unifiedDir) writeFileSync(`${cgroup.unifiedDir}/cgroup.procs`, String(pid));
    for (const file of cgroup.joinFiles) writeFileSync(file, String(pid));
  }

  test("memory: more than the limit is killed, and told", async () => {
    const cgroup = create({ memory: { limit: 16 << 20, swap: 16 << 20 } });
    expect(cgroup.oomKilled()).toBe(false);
    const { ended } = shell(cgroup, "head -c 96m /dev/zero | tail >/dev/null; exit 3");
    expect((await ended).code === 0).toBe(false);
    expect(cgroup.oomKilled()).toBe(true);
    const { memory } = cgroup.stats();
    expect(memory).toMatchObject({ limit: 16 << 20, version: mode === "v2" ? 2 : 1 });
    expect(memory!.oomKills).toBeGreaterThan(0);
    if (memory!.peak !== undefined) expect(memory!.peak).toBeGreaterThan(8 << 20);
  });

  test("memory: limits go up and down again", () => {
    const cgroup = create({ memory: { limit: 32 << 20, swap: 32 << 20 } });
    for (const size of [64 << 20, 16 << 20]) {
      cgroup.update({ memory: { limit: size, swap: size } });
      expect(cgroup.stats().memory!.limit).toBe(size);
    }
    cgroup.update({ memory: { limit: -1 } });
    expect(cgroup.stats().memory!.limit).toBeUndefined();
  });

  test("pids: the fork over the limit fails", async () => {
    const cgroup = create({ pids: { limit: 3 } });
    const { ended, child } = shell(
      cgroup,
      "for i in 1 2 3 4 5; do sleep 1000 </dev/null >/dev/null 2>&1 & done; exit 0",
    );
    child.stderr!.resume();
    expect((await ended).code).not.toBe(0);
    expect(cgroup.stats().pids).toEqual({ current: 2, limit: 3 });
  });

  test("cpu: quota and period are in the kernel's files, and use is counted", async () => {
    const cgroup = create({ cpu: { quota: 20000, period: 50000, shares: 512 } });
    const directory = mode === "v2" ? cgroup.unifiedDir : hierarchy.controllers.get("cpu")! + cgroup.path;
    const read = (file: string) => readFileSync(`${directory}/${file}`, "utf8").trim();
    if (mode === "v2") {
      expect(read("cpu.max")).toBe("20000 50000");
      expect(read("cpu.weight")).toBe("59");
    } else {
      expect(read("cpu.cfs_quota_us")).toBe("20000");
      expect(read("cpu.cfs_period_us")).toBe("50000");
      expect(read("cpu.shares")).toBe("512");
    }
    await shell(cgroup, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").ended;
    expect(cgroup.stats().cpu!.total).toBeGreaterThan(1_000_000);
    expect(cgroup.stats().cpu!.throttling?.periods).toBeGreaterThanOrEqual(0);
  });

  test("cpuset: a processor, and the memory nodes of the cgroup above", async () => {
    const cgroup = create({ cpu: { cpus: "0" } });
    const { output } = shell(cgroup, "grep Cpus_allowed_list /proc/self/status");
    expect((await output).trim()).toBe("Cpus_allowed_list:\t0");
    expect(() => create({ cpu: { cpus: "4095" } })).toThrow(/cpuset.cpus: (EINVAL|ERANGE) \(no such processor/);
  });

  test("devices: an allowed one opens, another does not, nor can it be made", async () => {
    const folder = mkdtempSync(join(tmpdir(), "inro-devices-"));
    try {
      const cgroup = create({ devices: NULL_ONLY });
      const script = [
        `mknod ${folder}/null c 1 3 && echo made null`,
        `mknod ${folder}/zero c 1 5 2>/dev/null || echo no zero`,
        `: < /dev/null && echo open null`,
        `(: < /dev/zero) 2>/dev/null || echo closed zero`,
      ].join("; ");
      expect(await shell(cgroup, script).output).toBe("made null\nno zero\nopen null\nclosed zero\n");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.skipIf(hierarchy.unified === undefined)("devices: one program serves all cgroups with the same rules", () => {
    const attached = (cgroup: Cgroup) => {
      const fd = openSync(cgroup.unifiedDir!, "r");
      try {
        return attachedPrograms(fd, BPF_CGROUP_DEVICE);
      } finally {
        closeSync(fd);
      }
    };
    const first = create({ devices: NULL_ONLY });
    const loaded = loadedPrograms();
    const ids = attached(first);
    expect(ids).toHaveLength(1);
    for (let i = 0; i < 5; i++) expect(attached(create({ devices: NULL_ONLY }))).toEqual(ids);
    expect(loadedPrograms()).toBe(loaded);
    expect(attached(create())).toEqual([]);
  });

  test("freeze stops, thaw lets go on", async () => {
    const cgroup = create();
    const { child, line } = shell(cgroup, "echo ready; cat");
    const ready = line();
    expect(await ready).toBe("ready");
    await cgroup.freeze();
    const frozen = () =>
      cgroup.unifiedDir
        ? /^frozen 1$/m.test(readFileSync(`${cgroup.unifiedDir}/cgroup.events`, "utf8"))
        : readFileSync(`${cgroup.paths()[0]}/freezer.state`, "utf8") === "FROZEN\n";
    expect(frozen()).toBe(true);
    const echoed = line();
    child.stdin!.write("hello\n");
    expect(frozen()).toBe(true);
    await cgroup.thaw();
    expect(frozen()).toBe(false);
    expect(await echoed).toBe("hello");
  });

  test("kill ends every process, nested and frozen ones too", async () => {
    const cgroup = create();
    const { ended, line } = shell(cgroup, "sleep 1000 & echo ready; wait; sleep 1000");
    expect(await line()).toBe("ready");
    expect(cgroup.pids()).toHaveLength(2);
    await cgroup.freeze();
    cgroup.killAll();
    expect((await ended).signal).toBe("SIGKILL");
    await cgroup.remove();
    expect(cgroup.pids()).toEqual([]);
  });

  test("remove takes running processes and cgroups made inside with it", async () => {
    const cgroup = create({ pids: { limit: 100 } });
    for (const directory of cgroup.paths()) mkdirSync(`${directory}/in/side/deep`, { recursive: true });
    for (let i = 0; i < 100; i++) mkdirSync(`${cgroup.paths()[0]}/in/${i}`);
    const { ended, line, child } = shell(cgroup, "sleep 1000 & echo ready; wait; sleep 1000");
    expect(await line()).toBe("ready");
    writeFileSync(`${cgroup.paths()[0]}/in/side/deep/cgroup.procs`, String(child.pid));
    expect(cgroup.pids()).toHaveLength(2);
    const paths = cgroup.paths();
    await cgroup.remove();
    expect((await ended).signal).toBe("SIGKILL");
    for (const directory of paths) expect(existsSync(directory)).toBe(false);
    await cgroup.remove();
  });

  test("a limit set later holds for the processes that are there", async () => {
    const cgroup = create();
    const { child, line } = shell(cgroup, "echo ready; read -r x; echo $x");
    expect(await line()).toBe("ready");
    cgroup.update({ pids: { limit: 1 } });
    expect(cgroup.stats().pids).toEqual({ current: 1, limit: 1 });
    expect(readFileSync(`/proc/${child.pid}/cgroup`, "utf8")).toContain(`${cgroup.path}\n`);
    expect(Cgroup.open(hierarchy, cgroup.path).paths().toSorted()).toEqual(cgroup.paths().toSorted());
  });

  test.skipIf(hierarchy.unified === undefined)("below a threaded cgroup it is threaded, or an error", () => {
    const above = create();
    mkdirSync(`${above.unifiedDir}/threads`);
    writeFileSync(`${above.unifiedDir}/threads/cgroup.type`, "threaded");
    const inside = Cgroup.create(hierarchy, `${above.path}/a/b`, {});
    expect(readFileSync(`${inside.unifiedDir}/cgroup.type`, "utf8")).toBe("threaded\n");
    // Only where cgroup2 has the controller is it one for domains there.
    if (mode !== "v2") return;
    const limited = () => Cgroup.create(hierarchy, `${above.path}/c`, { memory: { limit: 1 << 20 } });
    expect(limited).toThrow(/its type is domain (invalid|threaded), where memory cannot be limited/);
    expect(existsSync(`${above.unifiedDir}/c`)).toBe(false);
  });

  test("everywhere: a directory in each hierarchy, and the process in it", async () => {
    const cgroup = create({}, { everywhere: true });
    const { line } = shell(cgroup, "echo ready; read -r x");
    expect(await line()).toBe("ready");
    const mounts = new Set([...hierarchy.controllers.values(), ...(hierarchy.unified ? [hierarchy.unified] : [])]);
    expect(cgroup.paths().toSorted()).toEqual([...mounts].map((m) => m + cgroup.path).toSorted());
    for (const path of cgroup.paths()) expect(readFileSync(`${path}/cgroup.procs`, "utf8")).not.toBe("");
  });

  test("an occupied cgroup is a conflict and stays as it is", async () => {
    const cgroup = create();
    const { line } = shell(cgroup, "echo ready; read -r x");
    expect(await line()).toBe("ready");
    expect(() => Cgroup.create(hierarchy, cgroup.path, {})).toThrow(expect.objectContaining({ kind: "conflict" }));
    expect(cgroup.pids()).toHaveLength(1);
  });

  test("those that begin and end at once do not take each other's parents away", async () => {
    const script = `
      import { Cgroup, removeEmptyParent } from ${JSON.stringify(join(import.meta.dir, "cgroup.ts"))};
      const hierarchy = ${JSON.stringify({ ...hierarchy, controllers: [...hierarchy.controllers] })};
      hierarchy.controllers = new Map(hierarchy.controllers);
      for (let i = 0; i < 60; i++) {
        const path = "${parent}/race/" + process.pid + "-" + i;
        await Cgroup.create(hierarchy, path, {}, { everywhere: true }).remove();
        removeEmptyParent(hierarchy, "${parent}/race");
      }`;
    const both = [1, 2].map(() => Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "ignore", "pipe"] }));
    const ends = both.map(async (child) => [await child.exited, await new Response(child.stderr).text()]);
    expect(await Promise.all(ends)).toEqual([
      [0, ""],
      [0, ""],
    ]);
  });

  test.skipIf(mode !== "v2")("the owner gets what may be delegated, not the limits (cgroup v2 only)", () => {
    const { unifiedDir } = create({ pids: { limit: 5 } }, { owner: 4242 });
    const owner = (file: string) => statSync(`${unifiedDir}/${file}`).uid;
    expect(["", "cgroup.procs", "cgroup.subtree_control"].map(owner)).toEqual([4242, 4242, 4242]);
    expect(owner("pids.max")).toBe(0);
  });

  test.skipIf(mode !== "v2")("unified resources are written as they are (cgroup v2 only)", () => {
    const cgroup = create({ unified: { "memory.high": "1048576", "cgroup.max.depth": "3" } });
    expect(readFileSync(`${cgroup.unifiedDir}/memory.high`, "utf8")).toBe("1048576\n");
    expect(readFileSync(`${cgroup.unifiedDir}/cgroup.max.depth`, "utf8")).toBe("3\n");
    expect(() => create({ unified: { "memory.nonsense": "1" } })).toThrow("memory.nonsense: ENOENT");
  });
});
