import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasBusybox, isRoot, ROOTLESS, TestEngine } from "../harness.ts";
import { cannotRun, GID, noSubordinateIds, SUBIDS, UID } from "../runtime/rootless/user.ts";

// Each is many commands, and some of them start an engine.
setDefaultTimeout(120_000);

const why = !isRoot ? "needs root, who lowers the engine" : hasBusybox ? cannotRun : "no busybox-static";
const skipped = why ? ` (skipped: ${why})` : "";
const noIds = why ?? noSubordinateIds;

function rootlessEngine(rootless = ROOTLESS): TestEngine {
  const engine = new TestEngine([], { rootless });
  beforeAll(async () => {
    await engine.start();
    await engine.busybox();
  });
  afterAll(() => engine.stop());
  return engine;
}

/** Of proc_pid_status(5), in the test's user namespace: the machine's. */
const idsOf = (pid: number, kind: "Uid" | "Gid") =>
  Number(new RegExp(`^${kind}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);

describe.skipIf(noIds !== undefined)(`the engine of a plain user${noIds ? ` (skipped: ${noIds})` : ""}`, () => {
  const engine = rootlessEngine();
  const pidOf = async (name: string) => Number(await engine.ok("inspect", "-f", "{{.State.Pid}}", name));

  test("is that user, and so is root in a container; others are the user's subordinate ids", async () => {
    expect(idsOf(engine.pid, "Uid")).toBe(UID);
    await engine.ok("run", "-d", "--name", "root", "busybox", "sleep", "1000");
    await engine.ok("run", "-d", "--name", "other", "-u", "user", "busybox", "sleep", "1000");
    expect(idsOf(await pidOf("root"), "Uid")).toBe(UID);
    expect(idsOf(await pidOf("root"), "Gid")).toBe(GID);
    expect(idsOf(await pidOf("other"), "Uid")).toBe(SUBIDS.first + 999);
    expect(await engine.ok("exec", "other", "id", "-u")).toBe("1000");
    expect(await engine.ok("info", "-f", "{{json .SecurityOptions}}")).toContain("name=rootless");
    const socket = statSync(engine.socket);
    expect([socket.mode & 0o777, socket.uid]).toEqual([0o660 & ~0o060, UID]);
  });

  test("runs, execs, logs, copies and commits", async () => {
    expect((await engine.sh("id; hostname", "-h", "there")).stdout).toBe(
      "uid=0(root) gid=0(root) groups=0(root)\nthere\n",
    );
    await engine.ok(
      "run",
      "-d",
      "--name",
      "busy",
      "busybox",
      "sh",
      "-c",
      "echo out; rm -r /home; mkdir /home; touch /home/new; sleep 1000",
    );
    expect(await engine.ok("exec", "busy", "sh", "-c", "until test -e /home/new; do usleep 1000; done; echo in")).toBe(
      "in",
    );
    expect(await engine.ok("logs", "busy")).toBe("out");
    expect((await engine.ok("diff", "busy")).split("\n").sort()).toEqual(["A /home/new", "C /home", "D /home/user"]);
    const file = join(engine.dir, "file");
    writeFileSync(file, "text");
    await engine.ok("cp", file, "busy:/etc/copied");
    expect(await engine.ok("exec", "busy", "cat", "/etc/copied")).toBe("text");
    await engine.ok("commit", "busy", "changed");
    // An opaque directory has gone through a layer of an image.
    expect((await engine.inro(["run", "--rm", "changed", "ls", "-a", "/home"])).stdout).toBe(".\n..\nnew\n");
    expect(await engine.ok("top", "busy")).toContain("sleep 1000");
  });

  test("an image's whiteouts hide, and its devices are left out", async () => {
    const dir = join(engine.dir, "tree");
    mkdirSync(join(dir, "dev"), { recursive: true });
    expect(Bun.spawnSync(["mknod", join(dir, "dev/console"), "c", "5", "1"]).exitCode).toBe(0);
    writeFileSync(join(dir, "plain"), "kept");
    expect(Bun.spawnSync(["tar", "-C", dir, "-cf", join(engine.dir, "tree.tar"), "."]).exitCode).toBe(0);
    await engine.ok("import", join(engine.dir, "tree.tar"), "devices");
    await engine.ok("create", "--name", "look", "devices", "/none");
    expect(Buffer.from(await engine.ok("cp", "look:/plain", "-")).toString()).toContain("kept");
    await engine.ok("run", "--name", "gone", "busybox", "rm", "/etc/group");
    await engine.ok("commit", "gone", "without");
    expect((await engine.inro(["run", "--rm", "without", "cat", "/etc/group"])).stderr).toContain("No such file");
  });

  test("the image host is the machine's root, which the user may not read more of than before", async () => {
    const { code, stdout, stderr } = await engine.inro([
      "run",
      "--rm",
      "host",
      "sh",
      "-c",
      "id -u; touch /usr/new && echo made; cat /etc/shadow",
    ]);
    expect(stdout).toBe("0\nmade\n");
    expect([code, stderr]).toEqual([1, expect.stringContaining("Permission denied")]);
    expect(() => statSync("/usr/new")).toThrow();
    const closed = await engine.inro(["run", "--rm", "--read-only", "host", "touch", "/usr/new"]);
    expect(closed.stderr).toContain("Read-only file system");
  });

  test("binds and volumes are the user's", async () => {
    const shared = join(engine.dir, "run");
    expect((await engine.sh("echo hi > /mnt/made; ls -ln /mnt/made", "-v", `${shared}:/mnt`)).stdout).toContain(
      " 0        0 ",
    );
    expect(statSync(join(shared, "made")).uid).toBe(UID);
    const image = await engine.inro([
      "run",
      "--rm",
      "--mount",
      "type=image,src=busybox,dst=/i,image-subpath=etc",
      "busybox",
      "ls",
      "/i",
    ]);
    expect(image.stdout, image.stderr).toBe("group\npasswd\n");
    await engine.ok("volume", "create", "kept");
    await engine.sh("echo kept > /v/file", "-v", "kept:/v");
    expect((await engine.sh("cat /v/file", "-v", "kept:/v")).stdout).toBe("kept\n");
  });

  test("limits that nobody has delegated are discarded, and the log says so", async () => {
    const { code, stdout } = await engine.sh("echo ran", "-m", "64m", "--pids-limit", "30");
    expect([code, stdout]).toEqual([0, "ran\n"]);
    expect(engine.log).toContain("limits of memory discarded: no cgroup with this controller is delegated");
  });

  test("kill -9 of the engine: the next one is in the same namespaces, and has the containers", async () => {
    await engine.ok("run", "-d", "--name", "stays", "busybox", "sh", "-c", "echo before; read x; sleep 1000");
    await engine.kill();
    await engine.start();
    expect(await engine.ok("logs", "stays")).toBe("before");
    expect(await engine.ok("exec", "stays", "echo", "here")).toBe("here");
    await engine.ok("rm", "-f", "stays");
  });
});

describe.skipIf(why !== undefined)(`a user without subordinate ids${skipped}`, () => {
  const files = { ...ROOTLESS.files, "/etc/subuid": "", "/etc/subgid": "" };
  const engine = rootlessEngine({ ...ROOTLESS, files });

  test("has one id, and is told what gives more", async () => {
    const { stdout, stderr } = await engine.sh("id -u; cat /proc/self/uid_map");
    expect(stdout, stderr).toMatch(new RegExp(`^0\\n +0 +0 +1\\n$|^0\\n +0 +${UID} +1\\n$`));
    expect(engine.log).toContain("usermod --add-subuids");
    const other = await engine.inro(["run", "--rm", "-u", "1000", "busybox", "id"]);
    expect(other.code).not.toBe(0);
  });
});
