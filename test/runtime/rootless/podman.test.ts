import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, temporary } from "../../harness.ts";
import { asRoot, cannotRun, GID, PlainRuntime, SUBID_FILES, SUBIDS, UID } from "./user.ts";

const missing = ["podman", "conmon", "newuidmap"].filter((name) => !Bun.which(name));
const why =
  cannotRun ??
  (!asRoot ? "not root, who gives subordinate ids" : missing.length > 0 ? `not installed: ${missing}` : undefined);

/** Podman of a plain user: the runtime is called by a root in a user namespace of podman's. */
describe.skipIf(why !== undefined)(`rootless podman${why ? ` (skipped: ${why})` : ""}`, () => {
  let user: PlainRuntime;
  let podman: (...args: string[]) => Promise<{ code: number; out: string; err: string }>;

  beforeAll(async () => {
    user = new PlainRuntime({ files: { ...SUBID_FILES, "/etc/group": `root:x:0:\nplain:x:${GID}:\n` } });
    const runtime = join(user.dir, "inro-runtime");
    writeFileSync(runtime, `#!/bin/sh\nINRO_DOOR=inro-runtime exec ${user.argv.join(" ")} "$@"\n`, {
      mode: 0o755,
    });
    podman = (...args) =>
      user.output(
        [
          Bun.which("podman")!,
          ...["--log-level", "error", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"],
          ...["--events-backend", "file", "--runtime", runtime],
          ...args,
        ],
        { USER: "plain", TMPDIR: user.home, INRO_DOOR: undefined },
      );
    const image = temporary();
    copyFileSync(busyboxTar(image), join(user.dir, "image.tar"));
    Bun.spawnSync(["rm", "-r", image]);
    const { code, err } = await podman("import", join(user.dir, "image.tar"), "box");
    if (code !== 0) throw new Error(`podman import: ${err}`);
  });
  afterAll(async () => {
    await podman("rm", "--all", "--force", "--time", "0");
    // It holds podman's user namespace for later commands.
    const pause = join(user.runDir, "libpod/tmp/pause.pid");
    if (existsSync(pause)) process.kill(Number(readFileSync(pause, "utf8")), "SIGKILL");
    await user.output([Bun.which("podman")!, "unshare", "/bin/rm", "-rf", join(user.home, ".local")]);
    if (existsSync(pause)) process.kill(Number(readFileSync(pause, "utf8")), "SIGKILL");
    await user.close();
  });

  const cases: [what: string, args: string[], script: string, code: number, out: string][] = [
    ["podman's map", [], "cat /proc/self/uid_map", 0, `0 ${UID} 1 1 ${SUBIDS.first} ${SUBIDS.count}`],
    ["the user keeps his id", ["--userns", "keep-id"], "id -u", 0, `${UID}`],
    ["another user, and groups", ["-u", "1000:1000", "--group-add", "7"], "id -u; id -G", 0, "1000 1000 7"],
    ["its status", [], "exit 42", 42, ""],
    [
      "all of the host's devices that a user has",
      ["--privileged"],
      "echo x > /dev/null; test -c /dev/fuse; echo $?",
      0,
      "0",
    ],
    ["a terminal", ["-t"], "test -t 0 && echo tty", 0, "tty"],
    [
      "host name and sysctls",
      ["--hostname", "h", "--sysctl", "net.ipv4.ip_forward=1"],
      "hostname; cat /proc/sys/net/ipv4/ip_forward",
      0,
      "h 1",
    ],
    [
      "a tmpfs with what the image has there (tmpcopyup)",
      ["--tmpfs", "/home"],
      "stat -c %F:%u /home/user; touch /home/x && grep -c ' /home tmpfs ' /proc/mounts",
      0,
      "directory:0 1",
    ],
    ["read-only, but for a tmpfs", ["--read-only", "--tmpfs", "/t"], "touch /t/x && ls /t; touch /x", 1, "x"],
  ];
  test.each(cases)("%s", async (_, options, script, code, out) => {
    const result = await podman("run", "--rm", "--network", "none", ...options, "box", "sh", "-c", script);
    expect({
      code: result.code,
      out: result.out.trim().split(/\s+/).join(" "),
      err: result.err.replace(/^touch: .*\n/m, ""),
    }).toEqual({ code, out, err: "" });
  });

  test("run --detach, exec, kill, inspect, rm", async () => {
    const run = await podman(
      "run",
      "-d",
      "--name",
      "c",
      "--network",
      "none",
      "-v",
      `${user.home}:/home:ro`,
      "box",
      "sleep",
      "1000",
    );
    expect(run).toMatchObject({ code: 0, err: "" });
    expect(await podman("exec", "-u", "5", "c", "sh", "-c", "id -u; touch /home/x || exit 3")).toMatchObject({
      code: 3,
      out: "5\n",
    });
    expect((await podman("inspect", "c", "--format", "{{.State.Status}} {{.OCIRuntime}}")).out).toContain("running");
    expect(await podman("kill", "c")).toMatchObject({ code: 0 });
    expect((await podman("wait", "c")).out).toBe("137\n");
    expect(await podman("rm", "c")).toMatchObject({ code: 0 });
  });

  test.each([
    ["nope", 127],
    ["/etc", 126],
  ])("a command that cannot be executed: %s", async (command, code) => {
    expect((await podman("run", "--rm", "--network", "none", "box", command)).code).toBe(code);
  });
});
