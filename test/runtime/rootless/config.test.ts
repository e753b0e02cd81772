import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Spec } from "../../../src/spec/oci-runtime.ts";
import { ConsoleSocket, readTerminal } from "../console-socket.ts";
import { asRoot, type Change, cannotRun, GID, PlainRuntime, UID } from "./user.ts";

describe.skipIf(cannotRun !== undefined)(`rootless config${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: PlainRuntime;
  beforeAll(() => {
    runtime = new PlainRuntime();
  });
  afterAll(() => runtime.close());
  const output = async (script: string, change: Change = () => {}) => {
    const result = await runtime.run(["run", "-b", runtime.bundle(script, change), "config"]);
    return result.code === 0 && result.err === "" ? result.out : `${result.code}: ${result.err}${result.out}`;
  };

  test("what `spec --rootless` writes runs as it is", async () => {
    const bundle = runtime.bundle("true");
    const { code } = await runtime.output(["/bin/rm", join(bundle, "config.json")]);
    expect(code).toBe(0);
    expect(await runtime.bare(["spec", "--rootless", "-b", bundle])).toEqual({ code: 0, out: "", err: "" });
    const spec: Spec = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8"));
    expect(spec.linux!.uidMappings).toEqual([{ containerID: 0, hostID: UID, size: 1 }]);
    expect(spec.linux!.gidMappings).toEqual([{ containerID: 0, hostID: GID, size: 1 }]);
    // `sh` on a terminal, which is at the end of its input at once.
    expect((await runtime.run(["run", "-b", bundle, "spec"], { stdin: "exit 3\n" })).code).toBe(3);
  });

  test("a terminal, over the console socket", async () => {
    const bundle = runtime.bundle(
      "stty size; readlink /proc/self/fd/0; test -t 2 && echo tty; echo x > /dev/console",
      (s) => {
        s.process.terminal = true;
        s.process.consoleSize = { height: 33, width: 77 };
      },
    );
    const path = join(runtime.runDir, "console");
    const socket = new ConsoleSocket(path);
    await runtime.ok("create", "-b", bundle, "--console-socket", path, "tty");
    const master = socket.receive();
    await runtime.ok("start", "tty");
    expect(await readTerminal(master)).toBe("33 77\r\n/dev/pts/0\r\ntty\r\nx\r\n");
    closeSync(master);
    await runtime.ok("delete", "--force", "tty");
  });

  test.each<[string, string, Change, string]>([
    ["devices are the host's", "echo x > /dev/full || cat /dev/zero | head -c 3 | wc -c", () => {}, "3\n"],
    [
      "a network of its own, and its sysctls",
      "cat /sys/class/net/lo/flags; cat /proc/sys/net/ipv4/ip_forward",
      (s) => {
        s.linux.namespaces!.push({ type: "network" });
        s.mounts = s.mounts!.map((m) =>
          m.destination === "/sys" ? { ...m, type: "sysfs", source: "sysfs", options: ["ro"] } : m,
        );
        s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
      },
      "0x9\n1\n",
    ],
    [
      "oom_score_adj, which only rises",
      "cat /proc/self/oom_score_adj",
      (s) => {
        s.process.oomScoreAdj = 500;
      },
      "500\n",
    ],
    [
      "no_new_privs and capabilities",
      "grep -E '^(NoNewPrivs|CapEff|CapBnd)' /proc/self/status",
      (s) => {
        const caps = ["CAP_CHOWN", "CAP_SYS_ADMIN"];
        s.process.capabilities = { bounding: caps, effective: caps, permitted: caps };
      },
      "CapEff:\t0000000000200001\nCapBnd:\t0000000000200001\nNoNewPrivs:\t1\n",
    ],
    [
      "a seccomp filter without no_new_privs",
      "mkdir /dev/shm/x || echo refused",
      (s) => {
        s.process.noNewPrivileges = false;
        s.linux.seccomp = {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
        };
      },
      "refused\n",
    ],
    [
      "the root is read-only",
      "touch /x || echo no",
      (s) => {
        s.root!.readonly = true;
      },
      "no\n",
    ],
    [
      "masked and read-only paths",
      "cat /proc/keys | wc -c; echo 1 > /proc/sys/kernel/hostname || echo no",
      () => {},
      "0\nno\n",
    ],
    [
      "a bind that is made read-only",
      "touch /home/x || echo no",
      (s) => {
        s.mounts!.push({ destination: "/home", type: "bind", source: runtime.home, options: ["rbind", "ro"] });
      },
      "no\n",
    ],
    [
      "a bind that is written",
      "touch /home/made && id -u",
      (s) => {
        s.mounts!.push({ destination: "/home", type: "bind", source: runtime.home, options: ["rbind", "rw"] });
      },
      "0\n",
    ],
    [
      "a propagation and time offsets",
      "cat /proc/self/timens_offsets | wc -l",
      (s) => {
        s.linux.rootfsPropagation = "slave";
        s.linux.namespaces!.push({ type: "time" });
        s.linux.timeOffsets = { boottime: { secs: 1000, nanosecs: 0 } };
      },
      "2\n",
    ],
  ])("%s", async (_, script, change, wanted) => {
    const out = await output(script, change);
    // What a shell says of a refusal goes to stderr.
    expect(
      out
        .split("\n")
        .filter((line) => !/^(0: )?(sh|touch|mkdir|cat): /.test(line))
        .join("\n"),
    ).toBe(wanted);
  });

  test.each<[string, Change, string]>([
    [
      "no user namespace",
      (s) => {
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "user");
        s.linux.uidMappings = [];
        s.linux.gidMappings = [];
      },
      "rootless containers require user namespaces",
    ],
    [
      "additional groups",
      (s) => {
        s.process.user.additionalGids = [5];
      },
      "process.user.additionalGids: cannot set any additional groups in a rootless container",
    ],
    [
      "a user that is not mapped",
      (s) => {
        s.process.user.uid = 1;
      },
      "process.user.uid: 1 is not mapped",
    ],
    [
      "a group that is not mapped",
      (s) => {
        s.process.user.gid = 7;
      },
      "process.user.gid: 7 is not mapped",
    ],
    [
      "a mount's group that is not mapped",
      (s) => {
        s.mounts!.find((m) => m.destination === "/dev/pts")!.options!.push("gid=5");
      },
      "/dev/pts: option gid: 5 is not mapped",
    ],
    [
      "an id-mapped mount",
      (s) => {
        s.mounts!.push({ destination: "/home", type: "bind", source: runtime.home, options: ["rbind", "idmap"] });
      },
      "/home: id-mapped mounts are not possible in a rootless container",
    ],
    [
      "limits",
      (s) => {
        s.linux.resources = { pids: { limit: 10 } };
      },
      "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: ",
    ],
    [
      "a place among the cgroups",
      (s) => {
        s.linux.cgroupsPath = "/inro-nobody-s/x";
      },
      "delegate a cgroup to this user",
    ],
    [
      "a lower oom_score_adj",
      (s) => {
        s.process.oomScoreAdj = -500;
      },
      "process.oomScoreAdj",
    ],
    [
      "sysfs with the host's network",
      (s) => {
        s.mounts!.push({ destination: "/sys", type: "sysfs", source: "sysfs" });
      },
      "sysfs in a user namespace needs a network namespace of its own too",
    ],
    [
      "proc with the host's pids",
      (s) => {
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "pid");
      },
      "proc in a user namespace needs a pid namespace of its own too",
    ],
    [
      "a part of a tree with mounts",
      (s) => {
        s.mounts!.push({ destination: "/home", type: "bind", source: "/proc/../sys", options: ["bind"] });
      },
      "can be bound only as a whole: rbind",
    ],
    [
      "a file system for root alone",
      (s) => {
        s.mounts!.push({ destination: "/home", type: "ext4", source: "/dev/null" });
      },
      "in a user namespace this file system may be refused",
    ],
    [
      "a network that is root's",
      (s) => {
        s.linux.namespaces!.push({ type: "network", path: "/proc/self/ns/net" });
      },
      "no right over the namespace",
    ],
    [
      "a root that is not there",
      (s) => {
        s.root!.path = "nowhere";
      },
      "does not exist",
    ],
  ])("refused: %s", async (_, change, message) => {
    const { code, err, out } = await runtime.run(["run", "-b", runtime.bundle("true", change), "refused"]);
    expect({ code, err, out }).toEqual({ code: 1, err: expect.stringContaining(message), out: "" });
    expect(existsSync(join(runtime.root, "refused"))).toBe(false);
  });

  test("without a cgroup: no pause, and it says why", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("exec sleep 1000"), "nocgroup");
    for (const [command, ...flags] of [["pause"], ["resume"], ["update", "--pids-limit", "5"]] as const) {
      const { code, err } = await runtime.run([command, ...flags, "nocgroup"]);
      expect({ code, err }).toEqual({
        code: 1,
        err: expect.stringContaining(`cannot ${command} container nocgroup: it has no cgroup; delegate`),
      });
    }
    const { code, err } = await runtime.run(["events", "--stats", "nocgroup"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("it has no cgroup; delegate") });
    expect((await runtime.status("nocgroup")).status).toBe("running");
    await runtime.ok("delete", "--force", "nocgroup");
  });

  test("--rootless false: cgroups are asked for, and refused", async () => {
    const { code, err } = await runtime.run(["--rootless", "false", "run", "-b", runtime.bundle("true"), "strict"]);
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("the cgroup above is not delegated to this user"),
    });
    expect(await runtime.run(["--rootless=true", "run", "-b", runtime.bundle("true"), "lenient"])).toEqual({
      code: 0,
      out: "",
      err: "",
    });
    expect((await runtime.run(["--rootless", "maybe", "list"])).err).toContain("is not true, false or auto");
  });

  test.skipIf(!asRoot)("the locked options of a host's mount stay", async () => {
    const place = join(runtime.dir, "locked");
    mkdirSync(place);
    runtime.options = { locked: place };
    const bind =
      (...options: string[]): Change =>
      (s) => {
        s.mounts!.push({ destination: "/mnt", type: "bind", source: place, options: ["rbind", ...options] });
      };
    try {
      const kept = await output("grep ' /mnt ' /proc/self/mounts | cut -d' ' -f4", bind("nosuid"));
      expect(kept).toStartWith("ro,nosuid,nodev,noexec,noatime");
      for (const option of ["rw", "suid", "dev", "exec", "relatime"]) {
        expect(await output("true", bind(option))).toContain("of the host's own mount cannot be taken back");
      }
    } finally {
      runtime.options = {};
    }
  });
});

describe.skipIf(cannotRun !== undefined)("rootless: where the state is", () => {
  let runtime: PlainRuntime;
  beforeAll(() => {
    runtime = new PlainRuntime();
  });
  afterAll(() => runtime.close());

  test("XDG_RUNTIME_DIR/inro-runtime, with the sticky bit; without it an error", async () => {
    const bundle = runtime.bundle("true");
    expect((await runtime.bare(["create", "-b", bundle, "there"])).code).toBe(0);
    const { out: mode } = await runtime.output(["/usr/bin/stat", "-c", "%a %u", join(runtime.runDir, "inro-runtime")]);
    expect(mode).toBe(`1700 ${UID}\n`);
    const { out: files } = await runtime.output([
      "/usr/bin/find",
      join(runtime.runDir, "inro-runtime/there"),
      "-type",
      "f",
      "-perm",
      "/077",
    ]);
    expect(files).toBe("");
    expect((await runtime.bare(["list", "-q"])).out).toBe("there\n");
    expect((await runtime.bare(["delete", "there"])).code).toBe(0);

    const without = await runtime.bare(["list"], { XDG_RUNTIME_DIR: undefined });
    expect(without).toEqual({ code: 1, out: "", err: expect.stringContaining("XDG_RUNTIME_DIR is not set") });
    expect((await runtime.bare(["--version"], { XDG_RUNTIME_DIR: undefined })).code).toBe(0);
    expect((await runtime.bare(["features"], { XDG_RUNTIME_DIR: undefined })).code).toBe(0);
    expect((await runtime.bare(["list"], { XDG_RUNTIME_DIR: "run" })).err).toContain("is no absolute path");
  });

  test.skipIf(!asRoot)("another user neither sees nor controls it; root does", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("exec sleep 1000"), "mine");
    const other = new PlainRuntime({ uid: UID + 1, gid: GID + 1 });
    try {
      // Even if he may enter the directory.
      for (const path of [runtime.dir, runtime.root]) await runtime.output(["/bin/chmod", "755", path]);
      for (const args of [
        ["state", "mine"],
        ["exec", "mine", "true"],
        ["kill", "mine", "KILL"],
        ["ps", "mine"],
        ["delete", "--force", "mine"],
        ["pause", "mine"],
      ]) {
        const { code, err } = await other.bare(["--root", runtime.root, ...args]);
        expect({ args, code, err }).toEqual({
          args,
          code: args[0] === "exec" ? 255 : 1,
          err: expect.stringContaining("EACCES"),
        });
      }
      const listed = await other.bare(["--root", runtime.root, "list", "-q"]);
      expect(listed.out).toBe("");
      expect((await runtime.status("mine")).status).toBe("running");
    } finally {
      await other.close();
    }
    const root = async (...args: string[]) => {
      const child = Bun.spawn(
        [process.execPath, join(import.meta.dir, "../../../src/main.ts"), "--root", runtime.root, ...args],
        {
          env: { ...process.env, INRO_DOOR: "inro-runtime" },
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      return `${await new Response(child.stdout).text()}${await child.exited}`;
    };
    expect(await root("exec", "mine", "id", "-u")).toBe("0\n0");
    expect(await root("kill", "mine", "KILL")).toBe("0");
    expect(await root("delete", "--force", "mine")).toBe("0");
    expect(existsSync(join(runtime.root, "mine"))).toBe(false);
  });
});
