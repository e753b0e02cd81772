import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../src/spec/oci-runtime.ts";
import { cannotRun } from "./bundle.ts";
import { MountRuntime, mountAt, words } from "./mount-bundle.ts";

describe.skipIf(cannotRun !== undefined)(`mounts${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: MountRuntime;
  beforeAll(() => {
    runtime = new MountRuntime();
  });
  afterAll(() => runtime.close());
  const run: MountRuntime["mount"] = (...args) => runtime.mount(...args);
  const show = "cat /proc/self/mountinfo";
  let ids = 0;

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
    const defaults = ["inode64", "seclabel"];
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
      return { ...(await runtime.run(["run", "-b", bundle, `b${ids++}`])), bundle };
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

  const mkfs = Bun.which("mkfs.ext4");
  const loop = mkfs && Bun.which("losetup") && existsSync("/dev/loop-control");
  test.skipIf(!loop)(
    `ext4 of a block device${loop ? "" : " (skipped: no mkfs.ext4, losetup or loop devices)"}`,
    async () => {
      const image = join(runtime.dir, "ext4");
      writeFileSync(image, "");
      truncateSync(image, 4 << 20);
      Bun.spawnSync([mkfs!, "-q", image]);
      const found = Bun.spawnSync(["losetup", "--find", "--show", "--read-only", image]);
      const device = found.stdout.toString().trim();
      try {
        const ext4 = (...options: string[]) =>
          run(show, [{ destination: "/m", type: "ext4", source: device, options }]);
        const { out, err } = await ext4("ro", "noload", "nosuid");
        expect(err).toBe("");
        expect(mountAt(out, "/m")).toMatchObject({ type: "ext4", source: device, options: "ro,nosuid,relatime" });
        expect((await ext4("rw")).err).toContain("EACCES");
      } finally {
        Bun.spawnSync(["losetup", "--detach", device]);
      }
    },
  );
});
