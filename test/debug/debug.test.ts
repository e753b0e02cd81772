import { beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`inro debug${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  /** An image of one static program, which is no shell under this name. */
  beforeAll(async () => {
    if (why) return;
    const dir = join(engine.dir, "only");
    mkdirSync(dir);
    copyFileSync("/bin/busybox", join(dir, "busybox"));
    const tar = Bun.spawnSync(["tar", "-C", dir, "-c", "busybox"]).stdout;
    const change = ['ENTRYPOINT ["/busybox"]', "ENV GREETING=hello"].flatMap((text) => ["-c", text]);
    expect((await engine.inro(["import", ...change, "-", "only"], { stdin: tar })).code).toBe(0);
  });
  /** Fewer tools than this machine's are sooner there. */
  const DEBUG = ["debug", "--image", "busybox"];
  const names = async () => (await engine.ok("ps", "-a", "--format", "{{.Names}}")).split("\n").filter(Boolean);

  test("a running container without a shell: its files, processes and variables; changes are real", async () => {
    const id = await engine.ok("run", "-d", "--name", "live", "only", "sleep", "1000");
    const script = "ls /; echo $GREETING; tr '\\0' ' ' </proc/1/cmdline; echo; echo made >/made; exit 7";
    const { code, stdout, stderr } = await engine.inro(["debug", "-c", script, "live"]);
    expect({ code, stderr }).toEqual({ code: 7, stderr: "" });
    expect(stdout).toBe("busybox\ndev\netc\nproc\nsys\nhello\n/busybox sleep 1000 \n");
    expect(readFileSync(join(engine.dataRoot, "containers", id, "upper/made"), "utf8")).toBe("made\n");
    expect(await engine.ok("diff", "live")).toBe("A /made");
    // Nothing was left in the container: no mount, no directory, no process.
    const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", "live");
    expect(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).not.toContain("/proc/driver");
    expect(await engine.ok("exec", "live", "/busybox", "ls", "/proc/driver", "/")).not.toContain("bin");
    expect((await engine.ok("top", "live", "-o", "pid")).split("\n")).toHaveLength(2);
  });

  test("the container sees nothing of the tools while they are there", async () => {
    await engine.ok("run", "-d", "--name", "blind", "only", "sleep", "1000");
    const shell = engine.spawn([...DEBUG, "blind"]);
    const stdin = shell.stdin as import("bun").FileSink;
    stdin.write("ls /proc/driver; echo ready\n");
    stdin.flush();
    const reader = (shell.stdout as ReadableStream<Uint8Array>).getReader();
    let text = "";
    while (!text.includes("ready")) text += Buffer.from((await reader.read()).value ?? []).toString();
    expect(text).toContain("bin\n");
    expect(await engine.ok("exec", "blind", "/busybox", "ls", "/proc/driver")).not.toContain("bin");
    const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", "blind");
    expect(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).not.toContain("/proc/driver");
    // Not by way of the shell's process either: it may more than they.
    const look = "for p in /proc/[0-9]*; do /busybox ls $p/root/proc/driver/bin; done";
    expect((await engine.inro(["exec", "blind", "/busybox", "sh", "-c", look])).stdout).toBe("");
    stdin.write("exit 3\n");
    stdin.end();
    expect(await shell.exited).toBe(3);
  });

  test("a stopped container: its files, and what is changed is thrown away; volumes read-only", async () => {
    await engine.ok("run", "--name", "dead", "-v", "data:/data", "only", "sh", "-c", "echo x >/mine; echo v >/data/v");
    const before = await names();
    const script = "cat /mine /data/v; rm /mine; echo y >/other; echo z >/data/z; ls / | tr '\\n' ' '";
    const { stdout, stderr } = await engine.inro([...DEBUG, "-c", script, "dead"]);
    expect(stdout).toBe("x\nv\nbusybox data dev etc other proc sys ");
    expect(stderr).toContain("Read-only file system");
    expect(await engine.ok("diff", "dead")).toBe("A /mine");
    expect(readdirSync(join(engine.dataRoot, "volumes/data/_data"))).toEqual(["v"]);
    while ((await names()).length > before.length) await Bun.sleep(10);
    expect(await names()).toEqual(before);
  });

  test("an image, with a script on stdin", async () => {
    const before = await names();
    const { code, stdout } = await engine.inro([...DEBUG, "only"], { stdin: "touch /x; ls /\nexit 4\n" });
    expect({ code, stdout }).toEqual({ code: 4, stdout: "busybox\ndev\netc\nproc\nsys\nx\n" });
    while ((await names()).length > before.length) await Bun.sleep(10);
    expect((await engine.ok(...DEBUG, "-c", "ls /", "only")).split("\n")).not.toContain("x");
  });

  test("tools of an image; a shell, a user, a directory and variables of one's choice", async () => {
    await engine.ok("run", "-d", "--name", "choice", "only", "sleep", "1000");
    const flags = ["--image", "busybox", "--shell", "ash", "-u", "1000:29", "-w", "/proc", "-e", "A=1", "-e", "B"];
    const script =
      'echo $A $B; id -u; id -g; pwd; echo $PATH | cut -d: -f1; test -e /proc/driver/bin/bash || echo "no bash"';
    const { stdout, stderr } = await engine.inro(["debug", ...flags, "-c", script, "choice"], { env: { B: "2" } });
    expect({ stdout, stderr }).toEqual({
      stdout: "1 2\n1000\n29\n/proc\n/proc/driver/bin\nno bash\n",
      stderr: "",
    });
  });

  test("what it may: what the container may, and trace", async () => {
    await engine.ok("run", "-d", "--name", "caps", "--cap-drop", "ALL", "--user", "1000", "only", "sleep", "1000");
    const caps = (flags: string[]) => engine.ok(...DEBUG, ...flags, "-c", "grep CapEff /proc/self/status", "caps");
    expect(await caps([])).toBe("CapEff:\t0000000000080000");
    expect(await caps(["-u", "1000"])).toBe("CapEff:\t0000000000000000");
    expect(await caps(["--privileged"])).not.toContain("0000000000080000");
    // Another user's, which only a tracer may read.
    expect(await engine.ok(...DEBUG, "-c", "readlink /proc/1/exe", "caps")).toBe("/busybox");
  });

  test("a user namespace: running, and stopped with the owners it had", async () => {
    await engine.ok("run", "-d", "--name", "mapped", "--userns", "auto", "only", "sleep", "1000");
    const script = "cat /proc/self/uid_map; touch /u; chown 1000 /u; stat -c '%u %a' /u /busybox";
    expect(await engine.ok(...DEBUG, "-c", script, "mapped")).toMatch(/^ +0 +\d{6} +65536\n1000 644\n0 \d+$/);
    await engine.ok("kill", "mapped");
    await engine.ok("wait", "mapped");
    expect(await engine.ok(...DEBUG, "-c", "stat -c '%u %a' /u /busybox", "mapped")).toMatch(/^1000 644\n0 \d+$/);
  });

  const python = existsSync("/usr/bin/python3");
  test.skipIf(!python)(
    `programs of this machine with libraries of their own${python ? "" : " (no python3)"}`,
    async () => {
      const script = "import ctypes, sys, zlib; print(sys.version_info[0])";
      expect(await engine.ok("debug", "-c", `python3 -c '${script}'`, "only")).toBe("3");
    },
  );

  test("with a terminal", async () => {
    await engine.ok("run", "-d", "--name", "tty", "only", "sleep", "1000");
    let screen = "";
    const shell = engine.spawn([...DEBUG, "tty"], {
      terminal: { cols: 90, rows: 30, data: (_, data) => (screen += Buffer.from(data).toString()) },
    });
    while (!screen.includes("debug # ")) await Bun.sleep(10);
    shell.terminal!.write("stty size; exit 5\n");
    expect(await shell.exited).toBe(5);
    expect(screen).toContain("30 90\r\n");
  });

  test("errors", async () => {
    for (const [args, text] of [
      [["nobody"], "No such image: nobody:latest"],
      [["--image", "nothing", "only"], "No such image: nothing:latest"],
      [["--shell", "zork", "only"], 'the tools of busybox have no "zork"'],
      [["--shell", "../x", "only"], 'have no "../x"'],
      [["-u", "nobody", "only"], "unable to find user nobody"],
    ] as const) {
      const { code, stdout, stderr } = await engine.inro([...DEBUG, "-c", "true", ...args]);
      expect([args, code !== 0, stdout + stderr]).toEqual([args, true, expect.stringContaining(text)]);
    }
    const bad = await engine.api("POST", "/inro/debug", { Target: 7 });
    expect(bad.status).toBe(400);
    expect((await engine.api("POST", "/inro/debug", {})).status).toBe(400);
  });

  test("an engine that is killed meanwhile: the next one ends what was made for it", async () => {
    const shell = engine.spawn([...DEBUG, "only"]);
    const stdin = shell.stdin as import("bun").FileSink;
    stdin.write("echo ready\n");
    stdin.flush();
    expect(Buffer.from((await (shell.stdout as ReadableStream).getReader().read()).value).toString()).toBe("ready\n");
    const made = (await names()).length;
    await engine.kill();
    await engine.start();
    await shell.exited;
    while ((await names()).length >= made) await Bun.sleep(10);
    expect(await engine.ok("system", "check")).toBe("no leaks found");
  });
});
