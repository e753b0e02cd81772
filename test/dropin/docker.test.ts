import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { busyboxTar } from "../harness.ts";
import { eventually } from "../runtime/bundle.ts";
import { Caller, cannotUse, SERVER } from "./caller.ts";

const cannot = cannotUse("dockerd", "docker", "containerd", "unshare");

/** Allows all but one call. */
const PROFILE = {
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 17 }],
};
const KINDS = ["pid", "ipc", "uts", "net"];
const STATUS = "/proc/self/status";
const NO_RIGHTS = ["--cap-drop", "ALL"];
const HOST = ["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"];
const LINKS = `for kind in ${KINDS.join(" ")}; do readlink /proc/self/ns/$kind; done`;
const hostNamespaces = () => KINDS.map((kind) => `${readlinkSync(`/proc/self/ns/${kind}`)}\n`).join("");

describe.skipIf(cannot !== undefined)(`docker run --runtime inro${cannot ? ` (skipped: ${cannot})` : ""}`, () => {
  let docker: Caller;
  beforeAll(async () => {
    docker = new Caller("docker", { DOCKER_CONFIG: "." });
    const host = `unix://${docker.path("sock")}`;
    writeFileSync(docker.path("daemon.json"), "{}\n");
    writeFileSync(docker.path("profile.json"), JSON.stringify(PROFILE));
    docker.use("docker", "--host", host);
    const at = (name: string) => docker.directory(name);
    await docker.start(
      [
        // Its mounts end with it.
        ...["unshare", "--mount", "--propagation", "private", "dockerd", "--config-file", docker.path("daemon.json")],
        ...["--host", host, "--pidfile", docker.path("pid"), "--data-root", at("data"), "--exec-root", at("run")],
        ...["--cgroup-parent", `/${docker.name}`, "--iptables=false", "--ip6tables=false", "--bridge=none"],
        ...["--log-level=error", "--add-runtime", `inro=${docker.runtime}`, "--default-runtime", "inro"],
      ],
      ["version"],
    );
    docker.undo(async () => {
      const ids = (await docker.ok("ps", "--all", "--quiet")).split("\n").filter(Boolean);
      if (ids.length > 0) await docker.ok("rm", "--force", ...ids);
    });
    await docker.ok("import", busyboxTar(docker.dir), "box");
  });
  afterAll(async () => {
    expect(await docker.close()).toEqual([]);
  });

  const run = (...args: string[]) => docker.run(["run", "--rm", ...args]);
  const detached = (name: string, script: string, ...options: string[]) =>
    docker.ok("run", "--detach", "--name", name, ...options, "box", "sh", "-c", script);
  const inspect = (name: string, format: string) => docker.ok("inspect", name, "--format", format);
  const up = (name: string) => eventually("it runs", async () => (await docker.ok("logs", name)) === "started");

  const cases: [what: string, args: string[], code: number, said: string][] = [
    ["output and exit status", ["box", "sh", "-c", "echo out; exit 3"], 3, "out\n"],
    ["by name", ["--runtime", "inro", "box", "sh", "-c", "echo out"], 0, "out\n"],
    ["125: docker's own error", ["--no-such-flag", "box", "true"], 125, "unknown flag"],
    ["126: a command that cannot be executed", ["box", "/etc/passwd"], 126, "permission denied"],
    ["127: a command that is not there", ["box", "nope"], 127, 'exec: "nope": executable file not found in $PATH'],
    ["user and groups", ["--user", "12:13", "--group-add", "55", "box", "id"], 0, "uid=12 gid=13 groups=13,55"],
    ["working directory, environment", ["-w", "/new", "-e", "A=b", "box", "sh", "-c", "pwd; echo $A"], 0, "/new\nb\n"],
    ["read-only", ["--read-only", "box", "touch", "/x"], 1, "Read-only file system"],
    ["a tmpfs", ["--tmpfs", "/t:size=1m", "box", "sh", "-c", "df /t | tail -1"], 0, "tmpfs                     1024"],
    ["a bind mount, read-only", ["-v", "/etc:/x:ro", "box", "touch", "/x/inro"], 1, "Read-only file system"],
    ["a volume", ["-v", "/kept", "box", "sh", "-c", "grep -c ' /kept ' /proc/mounts"], 0, "1\n"],
    ["--init", ["--init", "box", "cat", "/proc/1/comm"], 0, "docker-init\n"],
    ["capabilities", [...NO_RIGHTS, "--cap-add", "KILL", "box", "grep", "CapEff", STATUS], 0, "0000000000000020"],
    ["privileged", ["--privileged", "box", "sh", "-c", "mount -t tmpfs x /tmp && ls /dev/kmsg"], 0, "/dev/kmsg\n"],
    ["docker's filter", ["box", "grep", "Seccomp:", STATUS], 0, "\t2\n"],
    ["no filter", ["--security-opt", "seccomp=unconfined", "box", "grep", "Seccomp:", STATUS], 0, "\t0\n"],
    ["a filter of one's own", ["--security-opt", "seccomp=profile.json", "box", "mkdir", "/x"], 1, "File exists"],
    ["no new privileges", ["--security-opt", "no-new-privileges", "box", "grep", "NoNewPrivs:", STATUS], 0, "\t1\n"],
    ["the host's namespaces", [...HOST, "box", "sh", "-c", LINKS], 0, hostNamespaces()],
    ["no network", ["--network", "none", "box", "sh", "-c", "ls /sys/class/net"], 0, "lo\n"],
    ["no ipc", ["--ipc", "none", "box", "ls", "/dev/shm"], 1, "No such file"],
    ["its own cgroup namespace", ["--cgroupns", "private", "box", "cat", "/proc/self/cgroup"], 0, "0::/\n"],
    ["the host's cgroup namespace", ["--cgroupns", "host", "box", "cat", "/proc/self/cgroup"], 0, "/inro-docker-"],
    ["a sysctl", ["--sysctl", "net.ipv4.ip_forward=1", "box", "cat", "/proc/sys/net/ipv4/ip_forward"], 0, "1\n"],
    ["a limit", ["--ulimit", "nofile=512:512", "box", "sh", "-c", "ulimit -n"], 0, "512\n"],
    ["a device", ["--device", "/dev/null:/dev/other", "box", "ls", "-l", "/dev/other"], 0, "1,   3"],
    ["the host name", ["--hostname", "inside", "box", "hostname"], 0, "inside\n"],
    ["oom_score_adj", ["--oom-score-adj", "5", "box", "cat", "/proc/self/oom_score_adj"], 0, "5\n"],
    ["a processor", ["--cpuset-cpus", "0", "box", "grep", "Cpus_allowed_list", STATUS], 0, "\t0\n"],
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
    expect((await docker.run(["run", "--rm", "-i", "box", "cat"], "in\n")).out).toBe("in\n");
    const shell = await docker.onTerminal(["run", "--rm", "-it", "box", "sh"], "/ # ", "stty size; exit 7\r");
    expect(shell).toMatchObject({ code: 7, out: expect.stringContaining("33 91") });
  });

  test("detached: exec, logs, top, stats, pause, stop, start, restart, kill, rm", async () => {
    await detached("life", SERVER);
    await up("life");
    expect(await docker.run(["exec", "life", "sh", "-c", "echo in; exit 4"])).toMatchObject({ code: 4, out: "in\n" });
    // 126 or 127, as the version of docker sees it.
    expect((await docker.run(["exec", "life", "nope"])).out).toContain(
      'exec: "nope": executable file not found in $PATH',
    );
    expect(await docker.ok("exec", "-u", "3:4", "-w", "/tmp", "life", "sh", "-c", "id -u; pwd")).toBe("3\n/tmp");
    expect(await docker.ok("exec", "--privileged", "life", "grep", "CapEff", STATUS)).toMatch(/[1-9a-f]{8}$/);
    const shell = await docker.onTerminal(["exec", "-it", "life", "sh"], "/ # ", "stty size; exit 6\r");
    expect(shell).toMatchObject({ code: 6, out: expect.stringContaining("33 91") });
    await docker.ok("exec", "-d", "life", "touch", "/done");
    await eventually(
      "the detached one has run",
      async () => (await docker.run(["exec", "life", "cat", "/done"])).code === 0,
    );
    expect(await docker.ok("top", "life")).toContain("trap");

    const stats = JSON.parse(await docker.ok("stats", "--no-stream", "--format", "{{json .}}", "life"));
    expect(stats).toMatchObject({ PIDs: expect.stringMatching(/^[1-9]/), MemUsage: expect.not.stringMatching(/^0B/) });

    await docker.ok("pause", "life");
    expect(await inspect("life", "{{.State.Status}}")).toBe("paused");
    await docker.ok("unpause", "life");
    await docker.ok("stop", "life");
    expect(await inspect("life", "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 5");
    await docker.ok("start", "life");
    const pid = await inspect("life", "{{.State.Pid}}");
    await docker.ok("restart", "life");
    expect(await inspect("life", "{{.State.Status}}")).toBe("running");
    expect(await inspect("life", "{{.State.Pid}}")).not.toBe(pid);
    await docker.ok("kill", "life");
    expect(await docker.ok("wait", "life")).toBe("137");
    await docker.ok("rm", "life");
  });

  test("update changes the limits of what runs", async () => {
    const id = await detached("limits", SERVER, "--memory", "64m");
    await docker.ok(
      "update",
      "--memory",
      "32m",
      "--memory-swap",
      "48m",
      "--pids-limit",
      "50",
      "--cpus",
      "0.5",
      "limits",
    );
    const limit = (controller: string, v1: string, v2: string) => {
      const path = `/sys/fs/cgroup/${controller}/${docker.name}/${id}/${v1}`;
      const unified = `/sys/fs/cgroup/${docker.name}/${id}/${v2}`;
      return readFileSync(existsSync(path) ? path : unified, "utf8").trim();
    };
    expect(limit("memory", "memory.limit_in_bytes", "memory.max")).toBe(String(32 << 20));
    expect(limit("pids", "pids.max", "pids.max")).toBe("50");
    expect(limit("cpu", "cpu.cfs_quota_us", "cpu.max")).toMatch(/^50000( 100000)?$/);
    await docker.ok("rm", "--force", "limits");
  });

  test("more memory than allowed: 137, and docker knows why", async () => {
    expect((await docker.run(["run", "--name", "greedy", "--memory", "16m", "box", "tail", "/dev/zero"])).code).toBe(
      137,
    );
    expect(await inspect("greedy", "{{.State.OOMKilled}} {{.State.ExitCode}}")).toBe("true 137");
    await docker.ok("rm", "greedy");
  });

  test("containers share the namespaces of another", async () => {
    await detached("first", SERVER, "--ipc", "shareable", "--shm-size", "8m");
    const of = ["--ipc", "container:first", "--network", "container:first", "--pid", "container:first"];
    const { out } = await run(...of, "box", "sh", "-c", "df /dev/shm | tail -1; ps");
    expect(out).toMatch(/^shm +8192 /);
    expect(out).toContain("usleep");
    await docker.ok("rm", "--force", "first");
  });

  test("a health check, and a restart after a failure", async () => {
    const health = ["--health-cmd", "test -e /well", "--health-interval", "100ms", "--health-retries", "100"];
    await detached("well", `touch /well; ${SERVER}`, ...health);
    await eventually("it is well", async () => (await inspect("well", "{{.State.Health.Status}}")) === "healthy");
    await docker.ok("rm", "--force", "well");
    await detached("again", "exit 1", "--restart", "on-failure:1");
    expect(await docker.ok("wait", "again")).toBe("1");
    await eventually("again", async () => (await inspect("again", "{{.RestartCount}}")) === "1");
    await docker.ok("rm", "--force", "again");
  });

  test("docker names the runtime and its version", async () => {
    const info = JSON.parse(await docker.ok("info", "--format", "{{json .}}"));
    expect(info).toMatchObject({ DefaultRuntime: "inro", Runtimes: { inro: { path: docker.runtime } } });
    expect(await docker.ok("version")).toMatch(/ inro:\n +Version: +\d/);
  });
});
