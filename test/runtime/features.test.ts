import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { removeEmptyParent } from "../../src/cgroups/cgroup.ts";
import { detectHierarchy } from "../../src/cgroups/hierarchy.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";
import { ConsoleSocket, readTerminal } from "./console-socket.ts";

describe.skipIf(cannotRun !== undefined)(`the runtime${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(() => runtime.close());
  const stopped = (id: string) =>
    eventually(`${id} stops`, async () => (await runtime.status(id)).status === "stopped");

  test("a terminal, over the console socket", async () => {
    const bundle = runtime.bundle(
      "stty size; readlink /proc/self/fd/0; test -t 2 && echo tty; echo x > /dev/console",
      (s) => {
        s.process.terminal = true;
        s.process.consoleSize = { height: 33, width: 77 };
      },
    );
    const path = join(runtime.dir, "console");
    const socket = new ConsoleSocket(path);
    await runtime.ok("create", "-b", bundle, "--console-socket", path, "tty");
    const master = socket.receive();
    await runtime.ok("start", "tty");
    expect(await readTerminal(master)).toBe("33 77\r\n/dev/pts/0\r\ntty\r\nx\r\n");
    closeSync(master);
    await stopped("tty");
    const flag = await runtime.run(["create", "-b", runtime.bundle("true"), "--console-socket", path, "no"]);
    expect(flag.err).toContain("--console-socket: the container's process has no terminal");
  });

  test("run carries a terminal itself", async () => {
    const bundle = runtime.bundle("test -t 0 && echo tty; exit 4", (s) => {
      s.process.terminal = true;
    });
    expect(await runtime.run(["run", "-b", bundle, "relay"])).toEqual({ code: 4, out: "tty\r\n", err: "" });
  });

  test("a user namespace: root inside, nobody outside", async () => {
    const bundle = runtime.bundle(
      "id -u; cat /proc/self/uid_map; touch /made; echo hi > /dev/null; sleep 1000",
      (s) => {
        s.linux.namespaces?.push({ type: "user" });
        s.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        s.linux.gidMappings = [{ containerID: 0, hostID: 200000, size: 65536 }];
        s.root!.readonly = false;
      },
    );
    chmodSync(runtime.dir, 0o755);
    chownSync(join(bundle, "rootfs"), 100000, 200000);
    const out = join(runtime.dir, "userns");
    const fd = openSync(out, "w");
    const { exited } = runtime.spawn(["run", "-d", "-b", bundle, "userns"], ["ignore", fd, "inherit"]);
    closeSync(fd);
    expect(await exited).toBe(0);
    const made = join(bundle, "rootfs/made");
    await eventually("the file is made", () => existsSync(made));
    expect(readFileSync(out, "utf8").split(/\s+/).slice(0, 4)).toEqual(["0", "0", "100000", "65536"]);
    expect(statSync(made)).toMatchObject({ uid: 100000, gid: 200000 });
    const { pid } = await runtime.status("userns");
    expect(statSync(`/proc/${pid}`).uid).toBe(100000);
    expect((await runtime.run(["exec", "userns", "id", "-u"])).out).toBe("0\n");
    const breakout = await runtime.run(["exec", "userns", "sh", "-c", "echo 1 > /proc/sys/kernel/panic"]);
    expect(breakout.code).not.toBe(0);
    await runtime.ok("delete", "-f", "userns");
  });

  test("exec: as the container's process, or as the file says", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "exec");
    const status = await runtime.run(["exec", "exec", "sh", "-c", "cat /proc/self/status; exit 6"]);
    expect(status.code).toBe(6);
    expect(status.out).toContain("CapBnd:\t0000000020000420");
    const asked = await runtime.run([
      "exec",
      "-u",
      "12:34",
      "-g",
      "56",
      "-e",
      "A=b",
      "--cwd",
      "/bin",
      "--cap",
      "CAP_CHOWN",
      "exec",
      "sh",
      "-c",
      "id; echo $A $PWD",
    ]);
    expect(asked.out).toBe("uid=12 gid=34 groups=56\nb /bin\n");
    const file = join(runtime.dir, "process.json");
    const process_ = { user: { uid: 7, gid: 8 }, args: ["sh", "-c", "id; echo $HOME"], cwd: "/", env: ["PATH=/bin"] };
    writeFileSync(file, JSON.stringify(process_));
    expect((await runtime.run(["exec", "--process", file, "exec"])).out).toBe("uid=7 gid=8\n/\n");
    writeFileSync(file, JSON.stringify({ ...process_, cwd: "x" }));
    expect(await runtime.run(["exec", "-p", file, "exec"])).toMatchObject({
      code: 255,
      err: expect.stringContaining("process.cwd: must be an absolute path"),
    });
    expect(await runtime.run(["exec", "exec", "nope"])).toMatchObject({
      code: 255,
      err: expect.stringContaining('exec: "nope": executable file not found in $PATH'),
    });
    expect(await runtime.run(["exec", "exec", "sh", "-c", "kill -TERM $$"])).toMatchObject({ code: 143 });
    const pidFile = join(runtime.dir, "exec-pid");
    await runtime.ok("exec", "--detach", "--pid-file", pidFile, "exec", "sleep", "1000");
    expect(JSON.parse(await runtime.ok("ps", "-f", "json", "exec"))).toContain(Number(readFileSync(pidFile, "utf8")));
    const path = join(runtime.dir, "exec-console");
    const socket = new ConsoleSocket(path);
    await runtime.ok("exec", "-d", "-t", "--console-socket", path, "exec", "sh", "-c", "test -t 1 && echo tty");
    const master = socket.receive();
    expect(await readTerminal(master)).toBe("tty\r\n");
    closeSync(master);
    await runtime.ok("delete", "-f", "exec");
  });

  test("nothing of ours is open in the container; what is preserved is", async () => {
    const file = join(runtime.dir, "preserved");
    writeFileSync(file, "kept");
    const bundle = runtime.bundle("ls /proc/$$/fd; cat <&3");
    const fd = openSync(file, "r");
    const out = join(runtime.dir, "fds");
    const outFd = openSync(out, "w");
    await runtime.spawn(["run", "--preserve-fds", "1", "-b", bundle, "fds"], ["ignore", outFd, "inherit", fd]).exited;
    closeSync(outFd);
    closeSync(fd);
    expect(readFileSync(out, "utf8")).toBe("0\n1\n2\n3\nkept");
    const closed = await runtime.run(["run", "--preserve-fds", "2", "-b", bundle, "fds"]);
    expect(closed.err).toContain("--preserve-fds descriptor");
    rmSync(file);
  });

  test("limits are in the cgroup while it runs", async () => {
    const bundle = runtime.bundle("sleep 1000", (s) => {
      s.linux.cgroupsPath = "/inro-runtime-test/limits";
      s.linux.resources = { ...s.linux.resources, pids: { limit: 17 } };
    });
    await runtime.ok("run", "-d", "-b", bundle, "limits");
    const { pid } = await runtime.status("limits");
    const own = readFileSync(`/proc/${pid}/cgroup`, "utf8");
    expect(own).toContain("/inro-runtime-test/limits");
    const found = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
      .map((top) => `${top}/inro-runtime-test/limits/pids.max`)
      .find((path) => existsSync(path));
    expect(readFileSync(found!, "utf8")).toBe("17\n");
    const denied = await runtime.run(["exec", "limits", "sh", "-c", "cat /dev/null && echo ok"]);
    expect(denied.out).toBe("ok\n");
    await runtime.ok("delete", "-f", "limits");
    expect(existsSync(found!)).toBe(false);
    removeEmptyParent(detectHierarchy(), "/inro-runtime-test");
  });

  test("a relative bind source is the bundle's, and read-only is read-only", async () => {
    const bundle = runtime.bundle("cat /data/x; echo no > /data/x", (s) => {
      s.mounts?.push({ destination: "/data", source: "data", options: ["rbind", "ro"] });
    });
    mkdirSync(join(bundle, "rootfs/data"));
    mkdirSync(join(bundle, "data"));
    writeFileSync(join(bundle, "data/x"), "from the bundle\n");
    const { out, err } = await runtime.run(["run", "-b", bundle, "bind"]);
    expect(out).toBe("from the bundle\n");
    expect(err).toContain("Read-only file system");
  });

  test("a seccomp filter", async () => {
    const bundle = runtime.bundle("mkdir /dev/shm/x", (s) => {
      s.linux.seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
      };
    });
    await runtime.ok("create", "-b", bundle, "filtered");
    await runtime.ok("delete", "filtered");
    expect((await runtime.run(["run", "-b", bundle, "filtered"])).err).toContain(
      "/dev/shm/x': No space left on device",
    );
  });

  test("what is not there is said", async () => {
    const bundle = runtime.bundle("true");
    for (const [args, message] of [
      ...(existsSync("/run/systemd/system")
        ? []
        : ([[["--systemd-cgroup", "create", "-b", bundle, "x"], "the systemd cgroup driver needs systemd"]] as const)),
      [["strat", "x"], "no such command: strat (did you mean start?)"],
      [["list", "--format", "yaml"], "invalid format option: yaml"],
      [["--root", "/", "list"], "is no directory for state"],
      [["create", "-b", "/nowhere", "x"], "config.json not found in /nowhere"],
    ] as const) {
      expect(await runtime.run(args)).toMatchObject({ code: 1, err: expect.stringContaining(message) });
    }
  });

  test("spec, features, version, list", async () => {
    const bundle = join(runtime.dir, "spec");
    mkdirSync(bundle);
    await runtime.ok("spec", "--bundle", bundle);
    expect(JSON.parse(readFileSync(join(bundle, "config.json"), "utf8"))).toMatchObject({ ociVersion: "1.3.0" });
    expect((await runtime.run(["spec", "-b", bundle])).err).toContain("exists; remove it first");
    const features = JSON.parse(await runtime.ok("features"));
    expect(features).toMatchObject({ ociVersionMin: "1.0.0", linux: { seccomp: { enabled: true } } });
    expect(features.mountOptions).toContain("rro");
    expect(features.linux).toMatchObject({
      apparmor: { enabled: true },
      selinux: { enabled: true },
      netDevices: { enabled: true },
      memoryPolicy: { flags: ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"] },
    });
    for (const action of features.linux.seccomp.actions as string[]) expect(action).toStartWith("SCMP_ACT_");
    expect(await runtime.ok("help")).toContain("usage: inro-runtime [FLAG...] COMMAND");
    expect(await runtime.ok("help", "create")).toBe(await runtime.ok("create", "--help"));
    expect((await runtime.run(["help", "creat"])).err).toContain("no such command: creat (did you mean create?)");
    expect((await runtime.run(["--debug", "list"])).err).toContain("level=debug");
    expect(await runtime.ok("--version")).toMatch(/^inro-runtime version \S+\ncommit: \S+\nspec: 1\.3\.0\n$/);
    const empty = new Runtime();
    mkdirSync(empty.root);
    expect(await empty.ok("list", "--format", "json")).toBe("null");
    rmSync(empty.root, { recursive: true });
    expect((await empty.run(["list"])).code).toBe(1);
    await empty.close();
  });
});
