import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { RESIDENT_SOCKET } from "../../src/runtime/resident/door.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";
import { type Installed, install, startResident } from "./resident.ts";

/** What a container says that shares the host's processes: the program of whoever had its launch made. */
const CALLER = "cat /proc/$(awk '/^PPid/ { print $2 }' /proc/$PPID/status)/comm";
const SERVED = "inro-runtime\n";
const ALONE = "inro\n";

describe.skipIf(cannotRun !== undefined)(`the resident${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-resident-"));
  let installed: Installed;
  let resident: Bun.Subprocess;
  let runtime: Runtime;
  beforeAll(async () => {
    installed = await install(dir);
    resident = await startResident(installed);
    runtime = new Runtime({ argv: [installed.front] });
  });
  afterAll(async () => {
    resident.kill("SIGKILL");
    await resident.exited;
    runtime.close();
    rmSync(dir, { recursive: true });
  });

  const shared = (script: string, change: Parameters<Runtime["bundle"]>[1] = () => {}) =>
    runtime.bundle(script, (spec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "pid") ?? [];
      change(spec);
    });
  const descriptors = () => readdirSync(`/proc/${resident.pid}/fd`).length;
  /** stdout of a run, whose front is called by way of `wrap`. */
  const output = async (bundle: string, id: string, wrap: string[] = [], env: Record<string, string> = {}) => {
    const child = runtime.spawn(["run", "-b", bundle, id], ["ignore", "pipe", "inherit"], env, wrap);
    const text = await new Response(child.stdout as ReadableStream).text();
    expect(await child.exited).toBe(0);
    return text;
  };

  test("does what its fronts are called for", async () => {
    expect(await output(shared(CALLER), "served")).toBe(SERVED);
  });

  test.each<[string, Parameters<Runtime["bundle"]>[1], string[], Record<string, string>]>([
    ["has hooks", (spec) => Object.assign(spec, { hooks: { poststop: [{ path: "/bin/true" }] } }), [], {}],
    ["has a relative cgroup", ({ linux }) => Object.assign(linux, { cgroupsPath: "inro-resident-test" }), [], {}],
    ["says so", undefined, [], { INRO_RESIDENT: "0" }],
    ["sees other mounts", undefined, ["unshare", "-m"], {}],
    ["sees another network", undefined, ["unshare", "-n"], {}],
    ["may do less", undefined, ["setpriv", "--no-new-privs"], {}],
    ["has fewer capabilities", undefined, ["setpriv", "--bounding-set", "-sys_boot"], {}],
    ["has no stdin", undefined, ["sh", "-c", 'exec "$@" <&-', "sh"], {}],
  ])("leaves alone who %s", async (what, change, wrap, env) => {
    const said = await output(shared(CALLER, change), `alone-${what.replaceAll(" ", "-")}`, wrap, env);
    expect(said).toBe(ALONE);
  });

  test("exit status, streams, directory, umask and errors are the front's", async () => {
    const bundle = runtime.bundle("cat; echo out; echo err >&2; exit 7");
    expect(await runtime.run(["run", "-b", bundle, "streams"], { stdin: "in\n" })).toEqual({
      code: 7,
      out: "in\nout\n",
      err: "err\n",
    });
    const sleeping = runtime.bundle("exec sleep 1000");
    const here = ["sh", "-c", `cd ${dirname(sleeping)}; umask 027; exec "$@"`, "sh"];
    const args = ["create", "-b", basename(sleeping), "--pid-file", "here.pid", "here"];
    expect(await runtime.spawn(args, ["ignore", "ignore", "inherit"], {}, here).exited).toBe(0);
    expect(statSync(join(dirname(sleeping), "here.pid")).mode & 0o777).toBe(0o640);
    const again = await runtime.run(["create", "-b", sleeping, "here"]);
    expect(again).toEqual({ code: 1, out: "", err: "inro-runtime: container with given ID already exists\n" });
    await runtime.ok("start", "here");
    expect((await runtime.run(["exec", "here", "sh", "-c", "exit 5"])).code).toBe(5);
    expect(await runtime.run(["exec", "here", "nothing"])).toMatchObject({
      code: 255,
      err: expect.stringContaining("nothing"),
    });
    await runtime.ok("delete", "--force", "here");
  });

  test("the caller's limits and what it ignores: as without it", async () => {
    const bundle = shared("ulimit -c; grep SigIgn /proc/self/status", (spec) => void delete spec.process.rlimits);
    const wrap = ["sh", "-c", 'trap "" PIPE HUP; ulimit -c 123; exec "$@"', "sh"];
    const alone = await output(bundle, "limits-alone", wrap, { INRO_RESIDENT: "0" });
    // SIGHUP is 1, SIGPIPE is 13.
    expect(alone).toMatch(/^123\nSigIgn:\t0000000000000[0-9a-f]{2}[02468ace]\n$/);
    expect(await output(bundle, "limits", wrap)).toBe(alone);
  });

  test("passes signals on", async () => {
    const bundle = shared(`${CALLER}; trap 'echo got; exit 9' USR1; echo up; while :; do sleep 1; done`);
    const child = runtime.spawn(["run", "-b", bundle, "signals"], ["ignore", "pipe", "inherit"]);
    let said = "";
    for await (const chunk of child.stdout as ReadableStream<Uint8Array>) {
      said += Buffer.from(chunk).toString();
      if (said.endsWith("up\n")) child.kill("SIGUSR1");
    }
    expect(said).toBe(`${SERVED}up\ngot\n`);
    expect(await child.exited).toBe(9);
  });

  test("many at once, and none leaves anything open", async () => {
    const bundles = Array.from({ length: 40 }, (_, i) => [`many${i}`, runtime.bundle(`exit ${i}`)] as const);
    const round = async () => {
      const codes = bundles.map(async ([id, bundle]) => (await runtime.run(["run", "-b", bundle, id])).code);
      expect(await Promise.all(codes)).toEqual(bundles.map((_, i) => i));
    };
    await round();
    const before = descriptors();
    await round();
    expect(descriptors()).toBeLessThanOrEqual(before + 2);
    expect(await runtime.ok("list", "-q")).toBe("");
  });

  test("a front that is killed: the container goes on, and is removed at its end", async () => {
    const bundle = runtime.bundle("until [ -e /dev/shm/end ]; do sleep 0.01; done");
    const child = runtime.spawn(["run", "-b", bundle, "orphan"], ["ignore", "ignore", "inherit"]);
    await eventually("it runs", async () => (await runtime.run(["exec", "orphan", "true"])).code === 0);
    child.kill("SIGKILL");
    await child.exited;
    // Its end may take the exec along before that has its own.
    await runtime.run(["exec", "orphan", "touch", "/dev/shm/end"]);
    await eventually("it is gone", () => !existsSync(join(runtime.root, "orphan")));
  });

  test("one that does not answer: the call is done all the same", async () => {
    process.kill(resident.pid, "SIGSTOP");
    try {
      expect(await output(shared(CALLER), "stopped")).toBe(ALONE);
    } finally {
      process.kill(resident.pid, "SIGCONT");
    }
    expect(await output(shared(CALLER), "continued")).toBe(SERVED);
  });

  test("one that is killed: its container stays, its front fails", async () => {
    const bundle = runtime.bundle("exec sleep 1000");
    const child = runtime.spawn(["run", "-b", bundle, "left"], ["ignore", "ignore", "pipe"]);
    await eventually("it runs", async () => (await runtime.run(["exec", "left", "true"])).code === 0);
    resident.kill("SIGKILL");
    await resident.exited;
    expect(await child.exited).toBe(1);
    expect((await runtime.status("left")).status).toBe("running");
    await runtime.ok("delete", "--force", "left");
    rmSync(installed.socket);
    resident = await startResident(installed);
  });

  test("a second one leaves at once; only root may enter the directory", async () => {
    expect(await Bun.spawn([installed.binary, installed.socket], { argv0: "inro-runtime-resident" }).exited).toBe(0);
    expect(statSync(dirname(installed.socket)).mode & 0o777).toBe(0o700);
    expect(await output(shared(CALLER), "first")).toBe(SERVED);
  });

  test("another build: no call is for it, and it leaves", async () => {
    const other = join(dir, "other");
    renameSync(installed.binary, other);
    symlinkSync(process.execPath, installed.binary);
    const answer = await runtime.run(["run", "-b", "/nowhere", "built"]);
    expect(answer.code).not.toBe(0);
    expect(await resident.exited).toBe(0);
    expect(existsSync(installed.socket)).toBe(false);
    rmSync(installed.binary);
    renameSync(other, installed.binary);
    resident = await startResident(await install(dir, true));
  });

  const taken = existsSync(RESIDENT_SOCKET) ? "one runs on this machine" : undefined;
  test.skipIf(taken !== undefined)(`the first call starts it${taken ? ` (skipped: ${taken})` : ""}`, async () => {
    const first = join(dir, "first");
    mkdirSync(first);
    symlinkSync(installed.binary, join(first, "inro"));
    const { front } = await install(first, true, RESIDENT_SOCKET);
    const called = new Runtime({ argv: [front] });
    let pid = 0;
    try {
      expect(await called.ok("--version")).toContain("inro-runtime version");
      await eventually("it listens", () => existsSync(RESIDENT_SOCKET));
      pid = processes().find((one) => cmdline(one) === "inro-runtime-resident\0") ?? 0;
      expect(pid).toBeGreaterThan(0);
      expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).not.toContain("inro");
    } finally {
      if (pid > 0) process.kill(pid, "SIGKILL");
      rmSync(dirname(RESIDENT_SOCKET), { recursive: true, force: true });
      called.close();
    }
  });
});

const processes = () =>
  readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);

function cmdline(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}
