import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { processStat } from "../../src/runtime/oci/state.ts";
import type { Hook, Hooks, NamespaceType } from "../../src/spec/oci-runtime.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";

const KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] as const;
type Kind = (typeof KINDS)[number];

/** In the container the shell is busybox's, as the bundle has it. */
const shell = (script: string, more: Partial<Hook> = {}): Hook => ({
  path: "/bin/sh",
  args: ["sh", "-c", script],
  ...more,
});

describe.skipIf(cannotRun !== undefined)(`hooks${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(() => runtime.close());
  let count = 0;

  /** A bundle with these hooks, that sleeps; and a file for what they say. */
  const prepare = (hooks: (log: string) => Hooks) => {
    const id = `hooks${count++}`;
    const log = join(runtime.dir, `${id}.log`);
    writeFileSync(log, "");
    const bundle = runtime.bundle("exec sleep 1000", (s) => {
      s.hostname = "inside";
      s.root!.readonly = false;
      s.annotations = { "org.example": "1" };
      s.hooks = hooks(log);
    });
    return { id, bundle, lines: () => readFileSync(log, "utf8").trim().split("\n").filter(Boolean) };
  };
  const gone = async (id: string) => {
    expect(existsSync(join(runtime.root, id))).toBe(false);
    expect((await runtime.run(["state", id])).err).toContain("container does not exist");
  };

  test("six kinds, in their order, each with its state, arguments and environment", async () => {
    const say = 'read -r s; echo "$0 $1 $X $(hostname) $s"';
    const { id, bundle, lines } = prepare((log) => {
      const hook = (kind: string, n: number): Hook => ({
        path: "/bin/sh",
        args: ["sh", "-c", `${say} >> ${kind === "startContainer" ? "/started" : log}`, kind, String(n)],
        env: [`X=${kind}${n}`, "PATH=/bin:/usr/bin"],
      });
      return Object.fromEntries(KINDS.map((kind) => [kind, [hook(kind, 1), hook(kind, 2)]]));
    });
    const seen = (all: string[]) =>
      all.map((line) => {
        const [kind, n, x, host, ...rest] = line.split(" ");
        expect(x).toBe(`${kind}${n}`);
        return [`${kind}${n}`, host === "inside", JSON.parse(rest.join(" "))] as const;
      });
    await runtime.ok("create", "-b", bundle, id);
    const { pid } = await runtime.status(id);
    const state = { ociVersion: "1.3.0", id, bundle, annotations: { "org.example": "1" } };
    const creating = { ...state, status: "creating", pid };
    const made = [
      ["prestart1", false, creating],
      ["prestart2", false, creating],
      ["createRuntime1", false, creating],
      ["createRuntime2", false, creating],
      ["createContainer1", true, { ...creating, pid: 1 }],
      ["createContainer2", true, { ...creating, pid: 1 }],
    ] as const;
    expect(seen(lines())).toEqual(made as never);
    const started = join(bundle, "rootfs/started");
    expect(existsSync(started)).toBe(false);
    await runtime.ok("start", id);
    const created = { ...state, status: "created", pid: 1 };
    expect(seen(readFileSync(started, "utf8").trim().split("\n"))).toEqual([
      ["startContainer1", true, created],
      ["startContainer2", true, created],
    ]);
    const running = { ...state, status: "running", pid };
    const poststart = [
      ["poststart1", false, running],
      ["poststart2", false, running],
    ] as const;
    expect(seen(lines())).toEqual([...made, ...poststart] as never);
    await runtime.ok("delete", "--force", id);
    expect(seen(lines()).slice(8)).toEqual([
      ["poststop1", false, { ...state, status: "stopped" }],
      ["poststop2", false, { ...state, status: "stopped" }],
    ]);
  });

  test("run has them too", async () => {
    const { id, bundle, lines } = prepare((log) =>
      Object.fromEntries(
        KINDS.map((kind) => [
          kind,
          [shell(kind === "startContainer" ? "echo x > /started" : `echo ${kind} >> ${log}`)],
        ]),
      ),
    );
    await runtime.ok("run", "-d", "-b", bundle, id);
    expect(existsSync(join(bundle, "rootfs/started"))).toBe(true);
    expect(lines()).toEqual(["prestart", "createRuntime", "createContainer", "poststart"]);
    await runtime.ok("delete", "--force", id);
    expect(lines().at(-1)).toBe("poststop");
  });

  const TYPES: Record<string, NamespaceType> = { mnt: "mount", uts: "uts", ipc: "ipc", net: "network", pid: "pid" };
  test.each<[Kind, "the runtime's" | "the container's"]>([
    ["prestart", "the runtime's"],
    ["createRuntime", "the runtime's"],
    ["createContainer", "the container's"],
    ["startContainer", "the container's"],
    ["poststart", "the runtime's"],
  ])("%s: in %s namespaces", async (kind, whose) => {
    const script = `for n in ${Object.keys(TYPES).join(" ")}; do readlink /proc/self/ns/$n; done`;
    const { id, bundle, lines } = prepare((log) => ({
      [kind]: [
        shell(`(${script}) >> ${kind === "startContainer" ? "/dev/shm/ns" : log}`, { env: ["PATH=/bin:/usr/bin"] }),
      ],
    }));
    await runtime.ok("run", "-d", "-b", bundle, id);
    const pid = whose === "the runtime's" ? "self" : (await runtime.status(id)).pid;
    const found =
      kind === "startContainer" ? (await runtime.ok("exec", id, "cat", "/dev/shm/ns")).trim().split("\n") : lines();
    expect(found).toEqual(Object.keys(TYPES).map((name) => readlinkSync(`/proc/${pid}/ns/${name}`)));
    await runtime.ok("delete", "--force", id);
  });

  test("startContainer: the rights, limits and cgroup of the container's process, and its environment", async () => {
    const { id, bundle } = prepare(() => ({
      startContainer: [
        shell("(cat /proc/self/status /proc/self/limits /proc/self/cgroup; echo $TERM; pwd) > /dev/shm/x"),
      ],
    }));
    await runtime.ok("run", "-d", "-b", bundle, id);
    const out = await runtime.ok("exec", id, "cat", "/dev/shm/x");
    // AUDIT_WRITE, KILL, NET_BIND_SERVICE.
    expect(out).toContain("CapEff:\t0000000020000420");
    expect(out).toContain("CapBnd:\t0000000020000420");
    expect(out).toContain("NoNewPrivs:\t1");
    expect(out).toMatch(/Max open files +1024 +1024/);
    expect(out).toEndWith("xterm\n/\n");
    const { pid } = await runtime.status(id);
    const unified = (text: string) => /^0::(.*)$/m.exec(text)?.[1];
    // Inside, its own directory is the root of what it sees; on the host both are the container's.
    expect(unified(readFileSync(`/proc/${pid}/cgroup`, "utf8"))).toEndWith(`/${id}`);
    expect(out).toContain(await runtime.ok("exec", id, "cat", "/proc/1/cgroup"));
    await runtime.ok("delete", "--force", id);
  });

  describe("one that fails", () => {
    test.each<[Kind, "create" | "start" | "delete"]>([
      ["prestart", "create"],
      ["createRuntime", "create"],
      ["createContainer", "create"],
      ["startContainer", "start"],
      ["poststart", "start"],
    ])("%s: an error of %s, the container is removed, poststop runs", async (kind, command) => {
      const { id, bundle, lines } = prepare((log) => ({
        [kind]: [shell("echo why >&2; exit 3"), shell(`echo next >> ${log}`)],
        poststop: [shell(`echo poststop >> ${log}`)],
      }));
      if (command === "start") await runtime.ok("create", "-b", bundle, id);
      const pid = command === "start" ? (await runtime.status(id)).pid : undefined;
      const { code, err } = await runtime.run(command === "create" ? ["create", "-b", bundle, id] : ["start", id]);
      expect({ code, err }).toEqual({
        code: 1,
        err: `inro-runtime: hooks.${kind}[0] /bin/sh: exit status 3: why\n`,
      });
      await gone(id);
      if (pid !== undefined) expect(isAlive(pid)).toBe(false);
      expect(lines()).toEqual(["poststop"]);
    });

    test.each<[Kind]>([["createRuntime"], ["startContainer"], ["poststart"]])("%s of run", async (kind) => {
      const { id, bundle, lines } = prepare((log) => ({
        [kind]: [shell("exit 3")],
        poststop: [shell(`echo poststop >> ${log}`)],
      }));
      const { code, err } = await runtime.run(["run", "-d", "-b", bundle, id]);
      expect({ code, err }).toEqual({
        code: 1,
        err: expect.stringContaining(`hooks.${kind}[0] /bin/sh: exit status 3`),
      });
      await gone(id);
      expect(lines()).toEqual(["poststop"]);
    });

    test("poststop: a warning, and the next one runs", async () => {
      const { id, bundle, lines } = prepare((log) => ({
        poststop: [shell("exit 1"), shell(`echo second >> ${log}`)],
      }));
      await runtime.ok("create", "-b", bundle, id);
      const { code, err } = await runtime.run(["delete", id]);
      expect(code).toBe(0);
      expect(err).toContain("hooks.poststop[0] /bin/sh: exit status 1");
      expect(lines()).toEqual(["second"]);
      await gone(id);
    });
  });

  const BIG = "x".repeat(1 << 20);
  const AWAY = `sleep 3333${process.pid}`;
  describe.each<[Kind]>([["createRuntime"], ["createContainer"], ["startContainer"]])("a %s hook", (kind) => {
    test.each<[string, Hook, string | undefined]>([
      ["is missing", { path: "/bin/no-such-hook" }, "/bin/no-such-hook: execve: ENOENT"],
      ["cannot be executed", { path: "/etc" }, kind === "startContainer" ? "/etc: execve: E" : "/etc: execve: EACCES"],
      ["is ended by a signal", shell("kill -TERM $$"), "/bin/sh: ended by signal 15"],
      [
        "takes too long, and what it started too",
        shell(`${AWAY} & ${AWAY}`, { timeout: 1 }),
        "/bin/sh: not done after 1 s",
      ],
      ["is quick enough", shell("sleep 0.1", { timeout: 10 }), undefined],
      ["closes its stdin", shell("exec <&-; exit 0"), undefined],
      ["never reads a state that fills any pipe", shell("exit 0"), undefined],
      ["reads all of such a state", shell("test $(wc -c) -gt 1048576"), undefined],
      [
        "writes much",
        shell("i=0; while [ $i -lt 3000 ]; do echo $0$0$0$0; i=$((i+1)); done", {
          args: ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $0$0$0$0; i=$((i+1)); done", "y".repeat(100)],
        }),
        undefined,
      ],
      [
        "writes much and fails: the end is shown",
        shell("i=0; while [ $i -lt 9000 ]; do echo 0123456789; i=$((i+1)); done; echo the end; exit 1"),
        "0123456789\nthe end\n",
      ],
      ["has no arguments", { path: "/bin/true" }, undefined],
    ])("%s", async (_name, hook, error) => {
      const { id, bundle } = prepare(() => ({ [kind]: [hook] }));
      const config = join(bundle, "config.json");
      const spec = JSON.parse(readFileSync(config, "utf8"));
      spec.annotations.big = BIG;
      writeFileSync(config, JSON.stringify(spec));
      if (!existsSync(join(bundle, "rootfs/bin/true"))) {
        for (const name of ["true", "wc"]) symlinkSync("busybox", join(bundle, "rootfs/bin", name));
        mkdirSync(join(bundle, "rootfs/etc"), { recursive: true });
      }
      const { code, err } = await runtime.run(["run", "-d", "-b", bundle, id]);
      if (error === undefined) {
        expect({ code, err }).toEqual({ code: 0, err: "" });
        await runtime.ok("delete", "--force", id);
      } else {
        expect({ code, err: err.slice(-6000) }).toEqual({ code: 1, err: expect.stringContaining(error) });
        await gone(id);
      }
      expect(running(AWAY)).toEqual([]);
    });
  });

  test("what a hook leaves running does not keep the runtime waiting", async () => {
    const { id, bundle } = prepare(() => ({ createRuntime: [shell(`${AWAY} & exit 0`)] }));
    await runtime.ok("create", "-b", bundle, id);
    const left = running(AWAY);
    expect(left).toHaveLength(1);
    process.kill(left[0]!);
    await runtime.ok("delete", "--force", id);
  });

  test.each<[string, string[] | undefined, string]>([
    ["absent: the runtime's", undefined, "marked\n"],
    ["empty: none", [], "\n"],
    ["given", ["MARK=own"], "own\n"],
  ])("environment %s", async (_name, env, expected) => {
    const log = join(runtime.dir, "environment");
    const { id, bundle } = prepare(() => ({ createRuntime: [shell(`echo $MARK > ${log}`, env && { env })] }));
    expect((await runtime.run(["create", "-b", bundle, id], { env: { MARK: "marked" } })).err).toBe("");
    expect(readFileSync(log, "utf8")).toBe(expected);
    await runtime.ok("delete", id);
  });

  test.each<[Kind, "create" | "start"]>([
    ["createRuntime", "create"],
    ["createContainer", "create"],
    ["startContainer", "start"],
    ["poststart", "start"],
  ])("%s that hangs: a signal ends it, and %s", async (kind, command) => {
    const { id, bundle } = prepare(() => ({ [kind]: [shell(AWAY)] }));
    if (command === "start") await runtime.ok("create", "-b", bundle, id);
    const child = runtime.spawn(command === "create" ? ["create", "-b", bundle, id] : ["start", id], [
      "ignore",
      "ignore",
      "pipe",
    ]);
    await eventually("the hook runs", () => running(AWAY).length === 1);
    child.kill("SIGTERM");
    expect(await new Response(child.stderr as ReadableStream).text()).toContain("interrupted by SIGTERM");
    expect(await child.exited).toBe(1);
    expect(running(AWAY)).toEqual([]);
    await gone(id);
  });

  test("the runtime is killed while a hook runs: the hook and the container go with it", async () => {
    const { id, bundle } = prepare(() => ({ createRuntime: [shell(`exec ${AWAY}`)] }));
    const child = runtime.spawn(["create", "-b", bundle, id], ["ignore", "ignore", "ignore"]);
    await eventually("the hook runs", () => running(AWAY).length === 1);
    const { pid } = JSON.parse(readFileSync(join(runtime.root, id, "state.json"), "utf8"));
    child.kill("SIGKILL");
    await child.exited;
    await eventually("the hook ends", () => running(AWAY).length === 0);
    await eventually("the container ends", () => !isAlive(pid));
    await runtime.ok("delete", "--force", id);
    await gone(id);
  });
});

/** And no zombie, which is its parent's to reap. */
function isAlive(pid: number): boolean {
  return !["Z", "X", undefined].includes(processStat(pid)?.state);
}

/** Pids of the processes with this command line. */
function running(command: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8") === `${command.replaceAll(" ", "\0")}\0`;
      } catch {
        return false;
      }
    });
}
