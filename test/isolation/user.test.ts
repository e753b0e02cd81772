import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { missing, shell } from "./container.ts";

describe.skipIf(missing !== "")(`user and environment${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-user-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test.each([
    ["", "uid=0(root) gid=0(root) groups=0(root)"],
    ["user", "uid=1000(user) gid=1000(user) groups=29(audio),1000(user)"],
    ["1000", "uid=1000(user) gid=1000(user) groups=29(audio),1000(user)"],
    ["user:video", "uid=1000(user) gid=44(video) groups=44(video)"],
    ["1000:29", "uid=1000(user) gid=29(audio) groups=29(audio)"],
    ["1234", "uid=1234 gid=0(root) groups=0(root)"],
    ["1234:5678", "uid=1234 gid=5678 groups=5678"],
    [":44", "uid=0(root) gid=44(video) groups=44(video)"],
  ])("-u %p", async (user, wanted) => {
    const id = await shell(engine, "id", ...(user ? ["-u", user] : []));
    // busybox may leave out the main group, and orders the rest as the kernel does.
    const groups = (text: string) => (text.split("groups=")[1] ?? "").split(",").sort();
    expect(id.split(" groups=")[0]).toBe(wanted.split(" groups=")[0]!);
    expect(groups(id)).toEqual(groups(wanted));
  });

  test("--group-add takes names of the image and numbers", async () => {
    expect(await shell(engine, "id -G", "-u", "1234", "--group-add", "video", "--group-add", "777")).toBe("0 44 777");
  });

  test.each([
    [["-u", "nobody"], "unable to find user nobody: no matching entries in passwd file"],
    [["-u", "1000:nope"], "unable to find group nope: no matching entries in group file"],
    [["--group-add", "nope"], "unable to find group nope"],
    [["-u", "4294967296"], "uids and gids must be in range 0-2147483647"],
  ])("%p is refused", async (flags, message) => {
    const { code, stderr } = await engine.sh("true", ...flags);
    expect([code, stderr]).toEqual([125, expect.stringContaining(message)]);
  });

  test("users come from the image's own files, not from the host's", async () => {
    const passwd = join(dir, "passwd");
    writeFileSync(passwd, "daemon:x:4321:0::/srv:/bin/sh\n");
    expect((await engine.sh("true", "-u", "daemon")).stderr).toContain("unable to find user daemon");
  });

  test("a plain user cannot write what is root's, and can open its stdio again", async () => {
    expect((await engine.sh("touch /x", "-u", "1000")).stderr).toContain("Permission denied");
    expect(await shell(engine, "echo out > /dev/stdout; echo again > /proc/self/fd/1", "-u", "1000")).toBe(
      "out\nagain",
    );
  });

  test("-e, in order, with values from here and taken away", async () => {
    const script = ["run", "--rm", "-e", "A=1", "-e", "HERE", "-e", "B=x y", "-e", "A=2", "busybox", "env"];
    const { stdout } = await engine.inro(script, { env: { HERE: "there" } });
    const lines = stdout.trim().split("\n");
    expect(lines).toContain("A=2");
    expect(lines).toContain("HERE=there");
    expect(lines).toContain("B=x y");
    expect(lines.filter((line) => line.startsWith("A="))).toHaveLength(1);
  });

  test("nothing of the caller's or the engine's environment leaks in", async () => {
    const { stdout } = await engine.inro(["run", "--rm", "busybox", "env"], { env: { SECRET: "1" } });
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0])
        .sort(),
    ).toEqual(["HOME", "HOSTNAME", "PATH"]);
  });

  test("--env-file, with -e over it", async () => {
    const file = join(dir, "env");
    writeFileSync(file, "# comment\n\nA=1\nB= spaced 'quoted'\nHERE\nNOT_SET_ANYWHERE\n");
    const { stdout } = await engine.inro(["run", "--rm", "--env-file", file, "-e", "A=3", "busybox", "env"], {
      env: { HERE: "x" },
    });
    expect(stdout).toContain("\nA=3\n");
    expect(stdout).toContain("\nB= spaced 'quoted'\n");
    expect(stdout).toContain("\nHERE=x\n");
    expect(stdout).not.toContain("NOT_SET");
    expect((await engine.sh("true", "--env-file", join(dir, "none"))).code).toBe(125);
  });

  test("HOME is the user's, or what -e says", async () => {
    expect(await shell(engine, "echo $HOME")).toBe("/root");
    expect(await shell(engine, "echo $HOME", "-u", "user")).toBe("/home/user");
    expect(await shell(engine, "echo $HOME", "-u", "1234")).toBe("/");
    expect(await shell(engine, "echo $HOME", "-e", "HOME=/x")).toBe("/x");
  });

  test("PATH of -e is where the command is looked for", async () => {
    expect((await engine.sh("true", "-e", "PATH=/nowhere")).code).toBe(127);
    expect(await engine.ok("run", "--rm", "-e", "PATH=/nowhere:/bin", "busybox", "env")).toContain(
      "PATH=/nowhere:/bin\n",
    );
  });

  test("-w is where the command starts, and is made", async () => {
    expect(await shell(engine, "pwd", "-w", "/tmp")).toBe("/tmp");
    expect(await shell(engine, "pwd; stat -c '%a %u' .", "-w", "/new/deep/dir")).toBe("/new/deep/dir\n755 0");
    expect(await shell(engine, "pwd", "-w", "/home/user", "-u", "user")).toBe("/home/user");
  });

  test("-w that is a file, or relative, is an error", async () => {
    expect((await engine.sh("pwd", "-w", "/etc/passwd")).stderr).toContain("/etc/passwd");
    const { code, stderr } = await engine.sh("pwd", "-w", "relative");
    expect([code, stderr]).toEqual([125, expect.stringContaining("relative")]);
  });

  test("--entrypoint goes before the command; empty takes it away", async () => {
    expect(await engine.ok("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b")).toBe("a b");
    expect(await engine.ok("run", "--rm", "--entrypoint", "", "busybox", "echo", "c")).toBe("c");
  });

  test("arguments arrive as they are", async () => {
    const words = ["", " ", "a'b\"c", "$HOME", "\\n", "ü\n€", "-x", "--"];
    expect(await engine.ok("run", "--rm", "busybox", "printf", "[%s]", ...words)).toBe(
      words.map((word) => `[${word}]`).join(""),
    );
  });
});
