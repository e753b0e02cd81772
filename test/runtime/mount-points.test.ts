import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Mount } from "../../src/spec/oci-runtime.ts";
import { cannotRun } from "./bundle.ts";
import { type Change, MountRuntime } from "./mount-bundle.ts";

describe.skipIf(cannotRun !== undefined)(`mount points${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: MountRuntime;
  beforeAll(() => {
    runtime = new MountRuntime();
  });
  afterAll(() => runtime.close());
  const run: MountRuntime["mount"] = (...args) => runtime.mount(...args);

  test("more mounts than there is room for are refused at once", async () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ destination: `/m/${i}`, type: "tmpfs" }));
    expect((await run("true", many(10_000))).err).toContain("mounts: 10007 are too many");
    const start = performance.now();
    const { code, err } = await run("true", many(1_000_000));
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/over \d+|too many/) });
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test("some two thousand mounts, and nested ones in their order", async () => {
    const mounts = Array.from({ length: 1990 }, (_, i) => ({
      destination: `/m/${i}`,
      source: "src/file",
      options: ["bind", "ro"],
    }));
    const { out, err } = await run("cat /m/0 /m/1989; grep -c ' /m/' /proc/self/mountinfo", mounts);
    expect(out + err).toBe("of the source\nof the source\n1990\n");
  });

  test("a later mount covers an earlier one, and what is below is made anew", async () => {
    const { out } = await run("ls /a /a/b; cat /a/b/file", [
      { destination: "/a/b", type: "tmpfs" },
      { destination: "/a", type: "tmpfs", options: ["ro"] },
      { destination: "/a/b", source: "src", options: ["rbind"] },
    ]);
    expect(out).toBe("/a:\nb\n\n/a/b:\nfile\nsub\nof the source\n");
  });

  test("where it goes is made: a directory, a file, with their parents", async () => {
    const { out, err, bundle } = await run("cat /new/file; ls -d /deep/er/dir/sub; cat /etc/f; : > /null", [
      { destination: "/new/file", source: "src/file", options: ["bind"] },
      { destination: "relative/../deep/er/dir", source: "src", options: ["bind"] },
      { destination: "/etc/f", source: "src/file", options: ["bind"] },
      { destination: "/null", source: "/dev/null", options: ["bind"] },
    ]);
    expect(out).toBe("of the source\n/deep/er/dir/sub\nof the source\n");
    expect(err).not.toContain("rror");
    expect(lstatSync(join(bundle, "rootfs/deep/er")).mode).toBe(0o40755);
    expect(lstatSync(join(bundle, "rootfs/null")).isFile()).toBe(true);
  });

  test("a symlink on the way leads to a place inside the root", async () => {
    const { out, bundle } = await run(
      "cat /real/x/file /etc/target; ls /var/run/made",
      [
        { destination: "/link/x", source: "src", options: ["bind"] },
        { destination: "/etc/link", source: "src/file", options: ["bind"] },
        { destination: "/var/run/made", source: "src", options: ["bind"] },
      ],
      (bundle) => {
        const root = join(bundle, "rootfs");
        for (const name of ["real", "etc", "var"]) mkdirSync(join(root, name));
        symlinkSync("../../../../real", join(root, "link"));
        writeFileSync(join(root, "etc/target"), "");
        symlinkSync("/etc/target", join(root, "etc/link"));
        symlinkSync("/run", join(root, "var/run"));
      },
    );
    expect(out).toBe("of the source\nof the source\nfile\nsub\n");
    expect(existsSync(join(bundle, "rootfs/run/made"))).toBe(true);
  });

  test.each<[string, Mount]>([
    ["proc", { destination: "/p", type: "proc" }],
    ["sysfs", { destination: "/p", type: "sysfs" }],
  ])("%s goes on no symlink", async (_, mount) => {
    const { code, err } = await run("true", [mount], (bundle) => symlinkSync("/bin", join(bundle, "rootfs/p")));
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/ELOOP.*symlink/) });
  });

  test("/proc: a bind of a proc file system, and of nothing else; the files of lxcfs", async () => {
    const own: Change = (s) => {
      s.mounts = s.mounts!.filter(({ destination }) => destination !== "/proc");
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "pid");
      s.mounts.push({ destination: "/proc", source: "/proc", options: ["rbind"] });
    };
    expect((await run("test -e /proc/self/status && echo ok", [], undefined, own)).out).toBe("ok\n");
    const { err } = await run("true", [{ destination: "/proc", source: "src", options: ["bind"] }]);
    expect(err).toContain("it is no proc file system");
    const uptime = await run("cat /proc/uptime", [
      { destination: "/proc/uptime", source: "src/file", options: ["bind", "ro"] },
    ]);
    expect(uptime.out).toBe("of the source\n");
  });

  test("a root that cannot be written lacks a mount point", async () => {
    const bundle = runtime.bundle("cat /m/file", (s) => {
      s.mounts!.push({ destination: "/m", source: "src", options: ["bind"] });
    });
    mkdirSync(join(bundle, "src"));
    writeFileSync(join(bundle, "src/file"), "x\n");
    const root = join(bundle, "rootfs");
    for (const name of ["proc", "dev", "sys"]) mkdirSync(join(root, name));
    Bun.spawnSync(["mount", "--bind", root, root]);
    try {
      Bun.spawnSync(["mount", "-o", "remount,bind,ro", root]);
      expect((await runtime.run(["run", "-b", bundle, "ro"])).err).toMatch(/\/m.*ENOENT/);
      Bun.spawnSync(["mount", "-o", "remount,bind,rw", root]);
      mkdirSync(join(root, "m"));
      Bun.spawnSync(["mount", "-o", "remount,bind,ro", root]);
      expect(await runtime.run(["run", "-b", bundle, "ro"])).toMatchObject({ code: 0, out: "x\n" });
    } finally {
      Bun.spawnSync(["umount", root]);
    }
  });

  test("a limit of open files that is too low is said", async () => {
    const bundle = runtime.bundle("true", (s) => {
      s.root!.readonly = false;
      const binds = Array.from({ length: 600 }, (_, i) => ({
        destination: `/m/${i}`,
        source: "/etc",
        options: ["bind"],
      }));
      s.mounts = s.mounts!.concat(binds);
    });
    const command = [
      process.execPath,
      join(import.meta.dir, "../../src/main.ts"),
      "--root",
      runtime.root,
      "run",
      "-b",
      bundle,
      "low",
    ];
    const { exitCode, stderr } = Bun.spawnSync(["prlimit", "--nofile=1000:1000", ...command], {
      env: { ...process.env, INRO_DOOR: "inro-runtime" },
    });
    expect({ exitCode, err: stderr.toString() }).toEqual({
      exitCode: 1,
      err: expect.stringContaining("the limit of open files"),
    });
  });

  test("a preserved descriptor keeps its number among hundreds of binds", async () => {
    const bundle = runtime.bundle("cat <&3", (s) => {
      s.root!.readonly = false;
      const binds = Array.from({ length: 450 }, (_, i) => ({
        destination: `/m/${i}`,
        source: "/etc",
        options: ["bind"],
      }));
      s.mounts = s.mounts!.concat(binds);
    });
    const file = join(runtime.dir, "preserved");
    writeFileSync(file, "kept");
    const out = join(runtime.dir, "preserved-out");
    const [fd, outFd] = [openSync(file, "r"), openSync(out, "w")];
    await runtime.spawn(["run", "--preserve-fds", "1", "-b", bundle, "many"], ["ignore", outFd, "inherit", fd]).exited;
    for (const each of [fd, outFd]) closeSync(each);
    expect(readFileSync(out, "utf8")).toBe("kept");
  });

  test("a socket is bound as a file is", async () => {
    const bundle = runtime.bundle("test -S /run/sock && echo socket", (s) => {
      s.root!.readonly = false;
      s.mounts!.push({ destination: "/run/sock", source: "sock", options: ["bind"] });
    });
    const server = createServer().listen(join(bundle, "sock"));
    await new Promise((resolve) => server.once("listening", resolve));
    expect((await runtime.run(["run", "-b", bundle, "socket"])).out).toBe("socket\n");
    server.close();
  });
});
