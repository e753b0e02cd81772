import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { busyboxTar } from "../harness.ts";
import { eventually } from "../runtime/bundle.ts";
import { Caller, COUNTER, cannotUse, SERVER } from "./caller.ts";
import { cannotCheckpoint } from "./criu.ts";

const noCriu = cannotCheckpoint();
const cannot = cannotUse("podman", "conmon");

// Limits that root may set wherever it is, and no file of the machine's own.
const CONFIG = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
`;

const KINDS = ["pid", "ipc", "uts", "net", "cgroup"];
const HOST = [
  ...["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host", "--cgroupns", "host"],
  ...["box", "sh", "-c", `for kind in ${KINDS.join(" ")}; do readlink /proc/self/ns/$kind; done`],
];
const hostNamespaces = () => KINDS.map((kind) => `${readlinkSync(`/proc/self/ns/${kind}`)}\n`).join("");
const FORK = "i=0; while [ $i -lt 30 ]; do sleep 10 & i=$((i + 1)); done";

describe.skipIf(cannot !== undefined)(`podman --runtime inro-runtime${cannot ? ` (skipped: ${cannot})` : ""}`, () => {
  let podman: Caller;
  beforeAll(async () => {
    podman = new Caller("podman", { CONTAINERS_CONF: "containers.conf" });
    writeFileSync(podman.path("containers.conf"), CONFIG);
    const at = (name: string) => podman.directory(name);
    podman.use(
      ...["podman", "--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp"), "--storage-driver", "vfs"],
      ...["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--network-config-dir", at("net")],
      ...["--runtime", podman.runtime],
    );
    podman.undo(() => podman.run(["rm", "--all", "--force", "--time", "0"]));
    await podman.ok("import", busyboxTar(podman.dir), "box");
  });
  afterAll(async () => {
    expect(await podman.close()).toEqual([]);
  });

  const run = (...args: string[]) => podman.run(["run", "--rm", "--cgroup-parent", `/${podman.name}`, ...args]);
  const detached = async (name: string, script: string, ...options: string[]) =>
    await podman.ok(
      ...[
        "run",
        "--detach",
        "--name",
        name,
        "--cgroup-parent",
        `/${podman.name}`,
        ...options,
        "box",
        "sh",
        "-c",
        script,
      ],
    );
  const inspect = (name: string, format: string) => podman.ok("inspect", name, "--format", format);

  const cases: [what: string, args: string[], code: number, said: string][] = [
    ["output and exit status", ["box", "sh", "-c", "echo out; exit 3"], 3, "out\n"],
    ["125: podman's own error", ["--no-such-flag", "box", "true"], 125, "unknown flag"],
    ["126: a command that cannot be executed", ["box", "/etc/passwd"], 126, "permission denied"],
    ["127: a command that is not there", ["box", "nope"], 127, 'exec: "nope": executable file not found in $PATH'],
    ["user and groups", ["--user", "12:13", "--group-add", "55", "box", "sh", "-c", "id -u; id -G"], 0, "12\n13 55\n"],
    ["working directory, environment", ["-w", "/tmp", "-e", "A=b", "box", "sh", "-c", "pwd; echo $A"], 0, "/tmp\nb\n"],
    ["read-only", ["--read-only", "--read-only-tmpfs=false", "box", "touch", "/x"], 1, "Read-only file system"],
    ["a tmpfs", ["--tmpfs", "/t:size=1m", "box", "sh", "-c", "df /t | tail -1"], 0, "tmpfs                     1024"],
    ["a bind mount, read-only", ["-v", "/etc:/x:ro", "box", "touch", "/x/inro"], 1, "Read-only file system"],
    ["no capabilities", ["--cap-drop", "all", "box", "grep", "CapEff", "/proc/self/status"], 0, "0000000000000000"],
    ["no filter", ["--security-opt", "seccomp=unconfined", "box", "grep", "Seccomp:", "/proc/1/status"], 0, "\t0\n"],
    ["podman's filter", ["box", "grep", "Seccomp:", "/proc/1/status"], 0, "\t2\n"],
    ["privileged", ["--privileged", "box", "sh", "-c", "ls -d /sys/fs/cgroup /dev/kmsg"], 0, "/dev/kmsg\n"],
    ["the host's namespaces", HOST, 0, hostNamespaces()],
    ["a user namespace", ["--uidmap", "0:100000:65536", "box", "cat", "/proc/self/uid_map"], 0, "100000      65536"],
    ["a limit is the cgroup's", ["--pids-limit", "20", "box", "sh", "-c", FORK], 2, "can't fork"],
    ["more memory than allowed", ["--memory", "16m", "box", "tail", "/dev/zero"], 137, ""],
    ["a terminal", ["-t", "box", "sh", "-c", "tty; exit 4"], 4, "/dev/pts/0"],
  ];
  for (const [what, args, code, said] of cases) {
    test(what, async () => {
      const result = await run(...args);
      expect({ code: result.code, said: result.out + result.err }).toEqual({
        code,
        said: expect.stringContaining(said),
      });
    });
  }

  test("stdin, and a shell on a terminal with its size", async () => {
    const piped = await podman.run(["run", "--rm", "-i", "--cgroup-parent", `/${podman.name}`, "box", "cat"], "in\n");
    expect(piped.out).toBe("in\n");
    const args = ["run", "--rm", "-it", "--cgroup-parent", `/${podman.name}`, "box", "sh"];
    const shell = await podman.onTerminal(args, "/ # ", "stty size; exit 7\r");
    expect(shell).toMatchObject({ code: 7, out: expect.stringContaining("33 91") });
  });

  test("detached: exec, logs, top, stats, pause, stop, start, restart, kill, rm", async () => {
    await detached("life", SERVER);
    await eventually("it runs", async () => (await podman.ok("logs", "life")) === "started");
    expect(await podman.run(["exec", "life", "sh", "-c", "echo in; exit 4"])).toMatchObject({ code: 4, out: "in\n" });
    expect(await podman.run(["exec", "life", "nope"])).toMatchObject({ code: 127 });
    expect(await podman.ok("exec", "-u", "3:4", "-w", "/tmp", "life", "sh", "-c", "id; pwd")).toBe("uid=3 gid=4\n/tmp");
    const shell = await podman.onTerminal(["exec", "-it", "life", "sh"], "/ # ", "stty size; exit 6\r");
    expect(shell).toMatchObject({ code: 6, out: expect.stringContaining("33 91") });
    expect(await podman.ok("exec", "-d", "life", "touch", "/done")).not.toBe("");
    await eventually(
      "the detached one has run",
      async () => (await podman.run(["exec", "life", "cat", "/done"])).code === 0,
    );
    expect(await podman.ok("top", "life", "args")).toContain("trap");

    const [stats] = JSON.parse(await podman.ok("stats", "--no-stream", "--format", "json", "life"));
    expect(stats).toMatchObject({ pids: expect.stringMatching(/^[1-9]/), mem_usage: expect.not.stringMatching(/^0B/) });
    expect(stats.cpu_time).not.toBe("0s");

    await podman.ok("pause", "life");
    expect(await inspect("life", "{{.State.Status}}")).toBe("paused");
    await podman.ok("unpause", "life");
    expect(await inspect("life", "{{.State.Status}}")).toBe("running");

    await podman.ok("stop", "life");
    expect(await inspect("life", "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 5");
    await podman.ok("start", "life");
    const pid = await inspect("life", "{{.State.Pid}}");
    await podman.ok("restart", "life");
    expect(await inspect("life", "{{.State.Status}}")).toBe("running");
    expect(await inspect("life", "{{.State.Pid}}")).not.toBe(pid);
    await podman.ok("kill", "life");
    expect(await podman.ok("wait", "life")).toBe("137");
    await podman.ok("rm", "life");
  });

  test("update changes the limits of what runs", async () => {
    const id = await detached("limits", SERVER, "--memory", "64m");
    await podman.ok("update", "--memory", "32m", "--cpu-shares", "512", "limits");
    const limit = (v1: string, v2: string) =>
      [`/sys/fs/cgroup/${v1}`, `/sys/fs/cgroup/${podman.name}/libpod-${id}/${v2}`].find((path) => existsSync(path))!;
    const memory = limit(`memory/${podman.name}/libpod-${id}/memory.limit_in_bytes`, "memory.max");
    expect(readFileSync(memory, "utf8").trim()).toBe(String(32 << 20));
    const shares = limit(`cpu/${podman.name}/libpod-${id}/cpu.shares`, "cpu.weight");
    expect(readFileSync(shares, "utf8").trim()).toBe(shares.endsWith("weight") ? "59" : "512");
    await podman.ok("rm", "--force", "--time", "0", "limits");
  });

  test("health checks", async () => {
    const never = ["--health-interval", "disable"];
    await detached("well", SERVER, "--health-cmd", "true", ...never);
    expect((await podman.run(["healthcheck", "run", "well"])).code).toBe(0);
    await podman.ok("rm", "--force", "--time", "0", "well");
    await detached("ill", SERVER, "--health-cmd", "exit 1", ...never);
    expect((await podman.run(["healthcheck", "run", "ill"])).code).toBe(1);
    await podman.ok("rm", "--force", "--time", "0", "ill");
  });

  test.skipIf(noCriu !== undefined)(`checkpoint and restore${noCriu ? ` (skipped: ${noCriu})` : ""}`, async () => {
    await detached("frozen", COUNTER);
    const count = async () => Number((await podman.run(["exec", "frozen", "cat", "/dev/shm/n"])).out);
    await eventually("it counts", async () => (await count()) > 1);
    const before = await count();
    await podman.ok("container", "checkpoint", "frozen");
    expect(await inspect("frozen", "{{.State.Status}}")).toBe("exited");
    await podman.ok("container", "restore", "frozen");
    expect(await inspect("frozen", "{{.State.Status}}")).toBe("running");
    await eventually("it goes on", async () => (await count()) > before);
    await podman.ok("kill", "frozen");
    expect(await podman.ok("wait", "frozen")).toBe("137");
    await podman.ok("rm", "frozen");
  });

  test("a pod's containers share its namespaces", async () => {
    const pod = ["--ipc", "container:first", "--pid", "container:first", "--uts", "container:first"];
    await detached("first", `hostname inside; ${SERVER}`, "--cap-add", "SYS_ADMIN");
    await eventually("it runs", async () => (await podman.ok("logs", "first")) === "started");
    const { out } = await run(...pod, "box", "sh", "-c", "hostname; ps | grep -c usleep");
    expect(out).toMatch(/^inside\n[1-9]\n$/);
    await podman.ok("rm", "--force", "--time", "0", "first");
  });

  test("podman names the runtime and its version", async () => {
    const info = JSON.parse(await podman.ok("info", "--format", "{{json .Host.OCIRuntime}}"));
    expect(info).toMatchObject({ path: podman.runtime, version: expect.stringMatching(/^inro-runtime version \d/) });
  });
});
