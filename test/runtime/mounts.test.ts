import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { mknodat } from "../../src/linux/file.ts";
import type { Mount, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Change = (spec: Spec & { process: object; linux: object }, bundle: string) => void;

describe.skipIf(cannotRun !== undefined)(`mounts${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterAll(() => runtime.close());
  let ids = 0;

  /** Runs a script in a bundle whose root can be written; `prepare` fills the bundle. */
  async function run(script: string, mounts: Mount[], prepare: (bundle: string) => void = () => {}, change?: Change) {
    const bundle = runtime.bundle(script, (s) => {
      s.root!.readonly = false;
      s.mounts = s.mounts!.concat(mounts);
      change?.(s as never, "");
    });
    mkdirSync(join(bundle, "src/sub"), { recursive: true });
    writeFileSync(join(bundle, "src/file"), "of the source\n");
    prepare(bundle);
    const result = await runtime.run(["run", "-b", bundle, `m${ids++}`]);
    return { ...result, bundle };
  }
  const show = "cat /proc/self/mountinfo";
  /** The last mount on `path`: its own options, type, source and the superblock's options. */
  function mountAt(mountinfo: string, path: string) {
    const line = mountinfo
      .split("\n")
      .findLast((line) => line.split(" ")[4] === path)
      ?.split(" - ");
    if (!line) throw new Error(`nothing on ${path}: ${mountinfo}`);
    const [type, source, superblock] = line[1]!.split(" ");
    return { options: line[0]!.split(" ")[5]!, tags: line[0]!.split(" ").slice(6).join(" "), type, source, superblock };
  }
  const words = (text: string) => text.split(",").toSorted();

  test.each<[string, string, string]>([
    ["ro", "relatime ro", "rw"],
    ["ro rw", "relatime rw", "rw"],
    ["nosuid nodev noexec", "nodev noexec nosuid relatime rw", "rw"],
    ["nosuid suid nodev dev noexec exec", "relatime rw", "rw"],
    ["noatime nodiratime", "noatime nodiratime rw", "rw"],
    ["noatime atime nodiratime diratime", "relatime rw", "rw"],
    ["strictatime", "rw", "rw"],
    ["strictatime nostrictatime", "relatime rw", "rw"],
    ["noatime relatime norelatime", "noatime rw", "rw"],
    ["nosymfollow", "nosymfollow relatime rw", "rw"],
    ["nosymfollow symfollow", "relatime rw", "rw"],
    ["sync dirsync", "relatime rw", "dirsync rw sync"],
    ["sync async", "relatime rw", "rw"],
    ["lazytime", "relatime rw", "lazytime rw"],
    ["lazytime nolazytime", "relatime rw", "rw"],
    ["mand nomand silent loud defaults", "relatime rw", "rw"],
    ["iversion silent nodev noatime", "noatime nodev rw", "rw"],
    ["silent ro sync", "relatime ro", "rw sync"],
    ["rro rnosuid", "nosuid relatime ro", "rw"],
    ["ro rrw", "relatime rw", "rw"],
    ["rnoatime", "noatime rw", "rw"],
    ["size=64k mode=700", "relatime rw", "mode=700 rw size=64k"],
    ["size=64k mode=700 silent", "relatime rw", "mode=700 rw size=64k"],
  ])("tmpfs: %s", async (options, mount, superblock) => {
    const { out, err } = await run(show, [
      { destination: "/m", type: "tmpfs", source: "t", options: options.split(" ") },
    ]);
    const found = mountAt(out + err, "/m");
    expect([found.type, found.source]).toEqual(["tmpfs", "t"]);
    expect(words(found.options)).toEqual(mount.split(" "));
    const defaults = ["inode64"];
    expect(words(found.superblock!).filter((word) => !defaults.includes(word))).toEqual(superblock.split(" "));
  });

  test.each<[string, string, string]>([
    ["bind", "relatime rw", "relatime rw"],
    ["rbind ro", "relatime ro", "relatime rw"],
    ["rbind rro", "relatime ro", "relatime ro"],
    ["rbind ro rrw", "relatime rw", "relatime rw"],
    ["rbind nosuid nodev noexec", "nodev noexec nosuid relatime rw", "relatime rw"],
    ["rbind rnosuid rnodev rnoexec", "nodev noexec nosuid relatime rw", "nodev noexec nosuid relatime rw"],
    ["rbind rnoatime rnodiratime", "noatime nodiratime rw", "noatime nodiratime rw"],
    ["rbind rstrictatime", "rw", "rw"],
    ["rbind rnosymfollow", "nosymfollow relatime rw", "nosymfollow relatime rw"],
    ["rbind rnosymfollow rsymfollow", "relatime rw", "relatime rw"],
    ["rbind noatime sync", "noatime rw", "relatime rw"],
  ])("bind: %s", async (options, top, below) => {
    const { bundle, out, err } = await withTmpfsSource(options.split(" "));
    expect(err).toBe("");
    expect(words(mountAt(out, "/m").options)).toEqual(top.split(" "));
    if (options !== "bind") expect(words(mountAt(out, "/m/sub").options)).toEqual(below.split(" "));
    else expect(out).not.toContain(" /m/sub ");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(bundle);
  });

  /** The source is a tmpfs of the host with another one below it, for as long as the container runs. */
  async function withTmpfsSource(options: string[], flags = "relatime", more: Mount[] = []) {
    const bundle = runtime.bundle(show, (s) => {
      s.mounts!.push({ destination: "/m", source: "top", options }, ...more);
    });
    const top = join(bundle, "top");
    mkdirSync(top);
    Bun.spawnSync(["mount", "-t", "tmpfs", "-o", flags, "top", top]);
    try {
      mkdirSync(join(top, "sub"));
      Bun.spawnSync(["mount", "-t", "tmpfs", "-o", flags, "sub", join(top, "sub")]);
      return { ...(await runtime.run(["run", "-b", bundle, `m${ids++}`])), bundle };
    } finally {
      Bun.spawnSync(["umount", "-R", top]);
    }
  }

  test("a bind keeps the flags of its source, and loses those that it is told to", async () => {
    const kept = await withTmpfsSource(["bind", "ro"], "nosuid,nodev,noatime");
    expect(words(mountAt(kept.out, "/m").options)).toEqual(["noatime", "nodev", "nosuid", "ro"]);
    const told = await withTmpfsSource(["bind", "suid", "dev", "atime"], "nosuid,nodev,noatime");
    expect(words(mountAt(told.out, "/m").options)).toEqual(["relatime", "rw"]);
  });

  test.each<[string, Mount[], string]>([
    ["of a tmpfs", [{ destination: "/m", options: ["remount", "ro", "size=8k"] }], "ro"],
    ["of a tmpfs, the mount alone", [{ destination: "/m", options: ["remount", "bind", "ro", "nodev"] }], "ro"],
  ])("remount %s", async (_, mounts, word) => {
    const { out, err } = await run(`${show}; touch /m/x`, [
      { destination: "/m", type: "tmpfs", source: "t" },
      ...mounts,
    ]);
    expect(words(mountAt(out, "/m").options)).toContain(word);
    expect(err).toContain("Read-only file system");
  });

  test("remount of what the kernel shares with the host changes the mount alone", async () => {
    const before = mountAt(readFileSync("/proc/self/mountinfo", "utf8"), "/sys");
    const { out } = await run(show, [{ destination: "/sys", type: "none", options: ["remount", "nosuid", "rw"] }]);
    expect(mountAt(out, "/sys").options).toStartWith("rw,nosuid");
    expect(mountAt(readFileSync("/proc/self/mountinfo", "utf8"), "/sys")).toEqual(before);
  });

  test.each<[string, Mount, string]>([
    ["on /", { destination: "/", type: "tmpfs" }, "the root comes from root.path"],
    ["on /.", { destination: "/x/..", type: "tmpfs" }, "the root comes from root.path"],
    ["no type", { destination: "/m" }, "no type, and not a bind mount"],
    ["unknown type", { destination: "/m", type: "nofs" }, "ENODEV"],
    ["unknown option", { destination: "/m", type: "tmpfs", options: ["nope"] }, "EINVAL"],
    [
      "unknown option of a bind",
      { destination: "/m", source: "src", options: ["bind", "nope"] },
      "bind mounts cannot have any filesystem-specific options applied: nope",
    ],
    [
      "source of a bind missing",
      { destination: "/m", source: "/none", options: ["bind"] },
      "bind source path does not exist: /none",
    ],
    ["bind without source", { destination: "/m", options: ["bind"] }, "the source must be absolute"],
    ["NUL", { destination: "/m\0x", type: "tmpfs" }, "has a NUL"],
    ["NUL in an option", { destination: "/m", type: "tmpfs", options: ["mode=7\u00000"] }, "has a NUL"],
    ["remount of nothing", { destination: "/m", options: ["remount", "ro"] }, "no earlier entry of mounts is there"],
    [
      "tmpcopyup of a bind",
      { destination: "/m", source: "src", options: ["bind", "tmpcopyup"] },
      "tmpcopyup is an option of tmpfs",
    ],
    ["in /proc", { destination: "/proc/sys", type: "tmpfs" }, "nothing may be mounted inside /proc"],
    [
      "in /proc by dots",
      { destination: "/x/../proc/./1", source: "src", options: ["bind"] },
      "nothing may be mounted inside /proc",
    ],
    ["other than proc on /proc", { destination: "/proc", type: "tmpfs" }, "only proc may be mounted there"],
    ["a directory on a file", { destination: "/bin/busybox", source: "src", options: ["bind"] }, "EINVAL"],
    ["data over a page", { destination: "/m", type: "tmpfs", options: ["x".repeat(4096)] }, "4095 bytes"],
  ])("refused: %s", async (_, mount, message) => {
    const { code, err, bundle } = await run("true", [mount]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(bundle);
  });

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

  test("other file systems go by their names, options and all: overlay", async () => {
    const names = ["lower", "upper", "work"] as const;
    const bundle = runtime.bundle("cat /o/f; echo new > /o/f; cat /o/f; cat /proc/self/mountinfo", (s) => {
      s.root!.readonly = false;
      const dir = join(runtime.dir, "overlay".padEnd(200, "-"));
      for (const name of [...names, "x".repeat(200)]) mkdirSync(join(dir, name), { recursive: true });
      writeFileSync(join(dir, "lower/f"), "lower\n");
      // More than one string of fsconfig(2) holds.
      const options = [
        `lowerdir=${dir}/lower:${dir}/${"x".repeat(200)}`,
        `upperdir=${dir}/upper`,
        `workdir=${dir}/work`,
      ];
      s.mounts!.push({ destination: "/o", type: "overlay", source: "overlay", options: [...options, "nosuid"] });
    });
    const { out, err } = await runtime.run(["run", "-b", bundle, "overlay"]);
    expect(err).toBe("");
    expect(out).toStartWith("lower\nnew\n");
    expect(mountAt(out, "/o")).toMatchObject({ type: "overlay", options: expect.stringContaining("nosuid") });
  });

  test("a tmpfs has the mode of what it covers", async () => {
    const prepare = (bundle: string) => {
      mkdirSync(join(bundle, "rootfs/t"));
      chmodSync(join(bundle, "rootfs/t"), 0o1755);
    };
    const tmpfs = (destination: string, options: string[] = []) => ({
      destination,
      type: "tmpfs",
      source: "t",
      options,
    });
    const { out } = await run("stat -c %a /t /new", [tmpfs("/t"), tmpfs("/new")], prepare);
    expect(out).toBe("1755\n1777\n");
    expect((await run("stat -c %a /t", [tmpfs("/t", ["mode=710"])], prepare)).out).toBe("710\n");
  });

  test("tmpcopyup copies everything of the covered directory, and follows nothing", async () => {
    const secret = join(runtime.dir, "secret");
    writeFileSync(secret, "of the host");
    const { out, err, bundle } = await run(
      "cd /data; cat one deep/er/two; stat -c '%n %F %a %u:%g %s' one two fifo zero deep link sparse; readlink link; readlink out; " +
        "test one -ef two && echo linked; cat out; echo new > one; echo x > added; stat -c %a .; grep ' /data ' /proc/mounts",
      [{ destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "nosuid", "size=1m"] }],
      (bundle) => {
        const data = join(bundle, "rootfs/data");
        mkdirSync(join(data, "deep/er"), { recursive: true });
        writeFileSync(join(data, "one"), "one\n");
        linkSync(join(data, "one"), join(data, "two"));
        writeFileSync(join(data, "deep/er/two"), "two\n");
        chownSync(join(data, "one"), 12, 34);
        chmodSync(join(data, "one"), 0o4755);
        mknodat(k.AT_FDCWD, join(data, "fifo"), k.S_IFIFO | 0o640, 0);
        chmodSync(join(data, "fifo"), 0o640);
        mknodat(k.AT_FDCWD, join(data, "zero"), k.S_IFCHR | 0o600, 0x105);
        symlinkSync("one", join(data, "link"));
        symlinkSync(`../../../../../..${secret}`, join(data, "out"));
        writeFileSync(join(data, "sparse"), "");
        truncateSync(join(data, "sparse"), 1 << 30);
        chmodSync(data, 0o1711);
      },
    );
    expect(out.split("\n")).toEqual([
      "one",
      "two",
      "one regular file 4755 12:34 4",
      "two regular file 4755 12:34 4",
      "fifo fifo 640 0:0 0",
      "zero character special file 600 0:0 0",
      "deep directory 755 0:0 60",
      "link symbolic link 777 0:0 3",
      "sparse regular file 644 0:0 1073741824",
      "one",
      `../../../../../..${secret}`,
      "linked",
      "1711",
      expect.stringMatching(/^tmpfs \/data tmpfs rw,nosuid,relatime,size=1024k,mode=1711/) as unknown as string,
      "",
    ]);
    expect(err).toContain("out");
    expect(err).not.toContain("of the host");
    // The image stays as it is.
    expect(readFileSync(join(bundle, "rootfs/data/one"), "utf8")).toBe("one\n");
    expect(existsSync(join(bundle, "rootfs/data/added"))).toBe(false);
  });

  test("tmpcopyup: of a symlink's place inside, of nothing, and of too much", async () => {
    const tmpfs = { destination: "/d", type: "tmpfs", source: "t", options: ["tmpcopyup", "size=64k"] };
    const link = await run("cat /real/f", [tmpfs], (bundle) => {
      mkdirSync(join(bundle, "rootfs/real"));
      writeFileSync(join(bundle, "rootfs/real/f"), "inside\n");
      symlinkSync("/real", join(bundle, "rootfs/d"));
    });
    expect(link.out).toBe("inside\n");
    expect((await run("ls -a /d | wc -l", [tmpfs])).out).toBe("2\n");
    const much = await run("true", [tmpfs], (bundle) => {
      mkdirSync(join(bundle, "rootfs/d"));
      writeFileSync(join(bundle, "rootfs/d/f"), Buffer.alloc(1 << 20, "x"));
    });
    expect(much).toMatchObject({ code: 1, err: expect.stringContaining("does not fit into the tmpfs") });
    const file = await run("true", [tmpfs], (bundle) => writeFileSync(join(bundle, "rootfs/d"), ""));
    expect(file).toMatchObject({ code: 1, err: expect.stringContaining("not a directory") });
  });

  test("root.readonly closes the root, and not what is mounted", async () => {
    const readonly: Change = (s) => {
      s.root!.readonly = true;
    };
    const mounts = [{ destination: "/t", type: "tmpfs", source: "t" }];
    const { out, err } = await run(
      "touch /x; touch /bin/x; touch /t/x /dev/shm/x && echo ok",
      mounts,
      undefined,
      readonly,
    );
    expect(out).toBe("ok\n");
    expect(err.match(/Read-only file system/g)).toHaveLength(2);
  });

  test("readonlyPaths: closed, and else as they were; maskedPaths: empty; missing ones are skipped", async () => {
    const { out, err } = await run(
      "touch /bin/x; touch /t/ro/x; echo > /dev/null && cat /file /dir/* /link /proc/keys; ls -A /dir /link.d; grep -E ' /(bin|t/ro) ' /proc/self/mountinfo",
      [
        { destination: "/t", type: "tmpfs", source: "t", options: ["nosuid", "mode=777"] },
        { destination: "/t/ro", source: "src", options: ["bind", "nodev"] },
      ],
      (bundle) => {
        const root = join(bundle, "rootfs");
        writeFileSync(join(root, "file"), "secret");
        for (const name of ["dir", "real"]) {
          mkdirSync(join(root, name));
          writeFileSync(join(root, name, "inside"), "secret");
        }
        symlinkSync("/file", join(root, "link"));
        symlinkSync("../../../real", join(root, "link.d"));
      },
      (s) => {
        s.linux.readonlyPaths = ["/bin", "/t/ro", "/dev", "/none", "/file/none"];
        s.linux.maskedPaths = ["/link", "/dir", "/link.d", "/proc/keys", "/none/deep", "/proc/none"];
      },
    );
    expect(err.match(/Read-only file system/g)).toHaveLength(2);
    expect(err).not.toMatch(/denied|secret/);
    const ends = out
      .trim()
      .split("\n")
      .slice(-2)
      .map((line) => line.split(" ")[5]);
    expect(out).not.toContain("secret");
    expect(ends).toEqual(["ro,relatime", "ro,nodev,relatime"]);
  });

  const selinux = existsSync("/sys/fs/selinux/enforce");
  test.skipIf(!selinux)(`mountLabel${selinux ? "" : " (skipped: no SELinux)"}`, async () => {
    const label = "system_u:object_r:tmp_t:s0";
    const { out } = await run(
      "cat /proc/mounts",
      [{ destination: "/t", type: "tmpfs", source: "t" }],
      undefined,
      (s) => {
        s.linux.mountLabel = label;
      },
    );
    const labelled = out
      .split("\n")
      .filter((line) => line.includes(`context=${label}`))
      .map((line) => line.split(" ")[1]);
    for (const path of ["/t", "/dev", "/dev/pts", "/dev/shm"]) expect(labelled).toContain(path);
    for (const path of ["/proc", "/sys", "/dev/mqueue"]) expect(labelled).not.toContain(path);
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

  describe("cgroups", () => {
    const limited: Change = (s) => {
      s.linux.resources = { ...s.linux.resources, pids: { limit: 50 } };
    };
    const rw: Change = (s) => {
      limited(s, "");
      s.mounts = s.mounts!.map((m) => (m.type === "cgroup" ? { ...m, options: ["nosuid", "noexec", "nodev"] } : m));
    };
    /** The hierarchies of v1 and hybrid lie beside each other; v2 is one. */
    const pure = existsSync("/sys/fs/cgroup/cgroup.controllers");
    const pids = pure ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";

    test.each<[string, Change]>([
      ["with a namespace", limited],
      [
        "without one",
        (s) => {
          limited(s, "");
          s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "cgroup");
        },
      ],
    ])("the container sees its own directories, and cannot write: %s", async (_, change) => {
      const { out, err } = await run(
        `cat ${pids}/pids.max ${pids}/cgroup.procs; mkdir ${pids}/x; touch /sys/fs/cgroup/x`,
        [],
        undefined,
        change,
      );
      expect(out).toMatch(/^50\n1\n/);
      expect(err.match(/Read-only file system/g)).toHaveLength(2);
    });

    test("without `ro` it may make groups of its own", async () => {
      const { out, err } = await run(`mkdir ${pids}/x && rmdir ${pids}/x && echo ok`, [], undefined, rw);
      expect([out, err]).toEqual(["ok\n", ""]);
    });

    test("nothing of other groups is in sight", async () => {
      const own = new Set((await run("ls /sys/fs/cgroup", [], undefined, limited)).out.trim().split("\n"));
      if (!pure) for (const name of own) expect(existsSync(`/sys/fs/cgroup/${name}`)).toBe(true);
      const { out } = await run(`ls -d ${pids}/*/ 2>/dev/null | wc -l`, [], undefined, limited);
      expect(out).toBe("0\n");
    });

    test("cgroup2 by its name is the container's own directory", async () => {
      const { out } = await run(
        "cat /c/cgroup.procs; ls -d /c/*/ 2>/dev/null | wc -l",
        [{ destination: "/c", type: "cgroup2", source: "cgroup", options: ["ro"] }],
        undefined,
        limited,
      );
      expect(out).toMatch(/^1\n(\d+\n)*0\n$/);
    });
  });
});
