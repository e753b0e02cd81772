import { afterAll, describe, expect, test } from "bun:test";
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { busyboxRoot, engineForTests } from "../harness.ts";
import { Box, missing, shell } from "./container.ts";

describe.skipIf(missing !== "")(`an image of symlinks to the host${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-hostile-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  /** What the image points to. */
  const victim = join(dir, "victim");
  for (const name of ["proc", "dev", "sys", "shm", "etc", "work"]) mkdirSync(join(victim, name), { recursive: true });
  for (const name of ["hosts", "hostname", "resolv.conf", "passwd"])
    writeFileSync(join(victim, "etc", name), `host's ${name}\n`);

  /** Every file below the victim with what it holds. */
  const state = (path = victim): string[] => {
    const info = lstatSync(path);
    const line = `${path} ${info.mode} ${info.uid} ${info.ino} ${info.mtimeMs} ${info.isFile() ? readFileSync(path) : ""}`;
    return [line, ...(info.isDirectory() ? readdirSync(path).flatMap((name) => state(join(path, name))) : [])];
  };
  const mountsOnVictim = () => readFileSync("/proc/self/mountinfo", "utf8").includes(victim);
  const plain = missing ? "" : busyboxRoot(dir);
  let images = 0;

  /** Imports busybox with these links in it; `own` also has the targets inside the image. */
  async function image(links: Record<string, string>, own = false): Promise<string> {
    const root = join(dir, `root${images}`);
    cpSync(plain, root, { recursive: true, verbatimSymlinks: true });
    for (const [path, target] of Object.entries(links)) {
      rmSync(join(root, path), { recursive: true, force: true });
      mkdirSync(dirname(join(root, path)), { recursive: true });
      symlinkSync(target, join(root, path));
    }
    if (own) cpSync(victim, join(root, victim), { recursive: true });
    const tar = join(dir, "image.tar");
    const made = Bun.spawnSync(["tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", tar, "."]);
    if (made.exitCode !== 0) throw new Error(`tar: ${made.stderr}`);
    rmSync(root, { recursive: true });
    const name = `hostile${images++}`;
    await engine.ok("import", tar, name);
    return name;
  }
  /** Whether it runs or not, the host stays as it is. */
  async function run(image: string, script: string, ...flags: string[]) {
    const before = state();
    const result = await engine.inro(["run", "--rm", ...flags, image, "sh", "-c", script]);
    expect(state()).toEqual(before);
    expect(mountsOnVictim()).toBe(false);
    return result;
  }

  const up = "../../../../../../../../../..";
  for (const [kind, to] of [
    ["absolute", (name: string) => join(victim, name)],
    ["relative", (name: string) => `${up}${join(victim, name)}`],
  ] as const) {
    for (const own of [false, true]) {
      const where = own ? "that is in the image too" : "that only the host has";
      test.each([
        ["/etc/hosts", "etc/hosts"],
        ["/etc/hostname", "etc/hostname"],
        ["/etc/resolv.conf", "etc/resolv.conf"],
        ["/etc", "etc"],
        ["/dev/shm", "shm"],
        ["/dev", "dev"],
        ["/sys", "sys"],
      ])(`%s is a link, ${kind}, to a path ${where}`, async (path, target) => {
        const { code, stdout, stderr } = await run(
          await image({ [path]: to(target) }, own),
          "cat /etc/hosts; echo > /dev/shm/x; echo ran",
        );
        expect(stdout).not.toContain("host's hosts");
        // /dev and /sys: it works inside of the root, or says what is wrong. All else works.
        if (code === 0) expect(stdout).toContain("ran");
        else
          expect([path, code, stderr]).toEqual([
            expect.stringMatching(/^\/(dev|sys)$/),
            125,
            expect.stringMatching(/: E[A-Z]+ \(step/),
          ]);
      });
    }
    test(`/proc is a link, ${kind}: refused, as an image must not say where /proc is`, async () => {
      const { code, stderr } = await run(await image({ "/proc": to("proc") }, true), "true");
      expect([code, stderr]).toEqual([expect.any(Number), expect.stringMatching(/\/proc.*symlink/)]);
      expect(code).not.toBe(0);
    });
  }

  test("links in a row, and in a circle", async () => {
    const chain = await image({ "/etc/hosts": "/a", "/a": "b", "/b": join(victim, "etc/hosts") });
    expect((await run(chain, "cat /etc/hosts")).stdout).not.toContain("host's");
    const circle = await image({ "/etc/hosts": "/etc/hostname", "/etc/hostname": "/etc/hosts" });
    expect((await run(circle, "true")).code).not.toBe(0);
  });

  test("passwd and group are looked up inside", async () => {
    writeFileSync(join(victim, "etc/passwd"), "evil:x:0:0::/:/bin/sh\n");
    const name = await image({ "/etc/passwd": join(victim, "etc/passwd") });
    expect((await run(name, "true", "-u", "evil")).stderr).toContain("unable to find user evil");
  });

  test("-v onto a link lands inside", async () => {
    const source = join(dir, "source");
    mkdirSync(source);
    writeFileSync(join(source, "file"), "mine\n");
    for (const target of [join(victim, "work"), `${up}${join(victim, "work")}`]) {
      const name = await image({ "/data": target });
      const { stdout } = await run(name, "cat /data/file; touch /data/written", "-v", `${source}:/data`);
      expect(stdout).toBe("mine\n");
      rmSync(join(source, "written"));
    }
    const file = await image({ "/etc/passwd": join(victim, "etc/passwd") });
    expect((await run(file, "cat /etc/passwd", "-v", `${source}/file:/etc/passwd`)).stdout).toBe("mine\n");
  });

  test("--tmpfs, -w and --device onto a link land inside", async () => {
    const name = await image({
      "/t": join(victim, "work"),
      "/w": join(victim, "work"),
      "/dev/mine": join(victim, "dev"),
    });
    const { stdout } = await run(
      name,
      "touch /t/x . ./y; pwd; ls /t; ls -l /dev/mine",
      "--tmpfs",
      "/t",
      "-w",
      "/w/sub",
      "--device",
      "/dev/null:/dev/mine",
    );
    expect(stdout).toContain("x");
    expect(stdout).toContain("/dev/mine");
  });

  test("no link leads a mount into /proc, /dev or /sys", async () => {
    for (const target of ["/proc", "/proc/sys", "../../dev", "/sys", "/self"]) {
      const name = await image({ "/data": target, "/self": "/proc/self/attr" });
      const { code, stderr } = await run(name, "true", "-v", `${dir}:/data:ro`);
      expect([target, code, stderr]).toEqual([target, 125, expect.stringMatching(/symlink to|inside \/proc/)]);
    }
  });

  test("a link to the kernel's own links leads nowhere", async () => {
    for (const target of ["/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/self/fd/5"]) {
      const name = await image({ "/data": `${target}${victim}/work` });
      await run(name, "touch /data/x", "-v", `${dir}:/data:ro`);
      await run(name, "pwd; touch x", "-w", "/data");
    }
  });

  test("exec in it stays inside", async () => {
    const name = await image({ "/w": join(victim, "work"), "/etc/passwd": join(victim, "etc/passwd") });
    const before = state();
    await using box = await Box.run(engine, [], "exec sleep 1000", name);
    await box.exec(["touch", "x"], "-w", "/w");
    expect((await box.exec(["true"], "-u", "evil")).code).not.toBe(0);
    expect(state()).toEqual(before);
  });

  test("its own /dev nodes and files where mounts go do no harm", async () => {
    const name = await image({});
    const { stdout } = await run(name, "ls -ld /dev/null; cat /etc/hosts | head -n 1", "--tmpfs", "/etc/passwd.d");
    expect(stdout).toMatch(/^crw-rw-rw-/);
    expect(await shell(engine, "cat /proc/self/mounts | grep -c ' /proc '")).toBe("1");
  });
});
