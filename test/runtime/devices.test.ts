import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { makedev, mknodat } from "../../src/linux/file.ts";
import type { Device, Mount, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Linux = Spec & { linux: NonNullable<Spec["linux"]> };

describe.skipIf(cannotRun !== undefined)(`devices${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
    chmodSync(runtime.dir, 0o755);
  });
  afterAll(() => runtime.close());
  let ids = 0;

  async function run(
    script: string,
    devices: Device[],
    options: { prepare?(root: string): void; change?(spec: Linux): void } = {},
  ) {
    const bundle = runtime.bundle(script, (s) => {
      s.root!.readonly = false;
      s.linux.devices = devices;
      options.change?.(s as never);
    });
    const root = join(bundle, "rootfs");
    options.prepare?.(root);
    return { ...(await runtime.run(["run", "-b", bundle, `d${ids++}`])), root };
  }
  const userns = (s: Linux) => {
    s.linux.namespaces!.push({ type: "user" });
    s.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    s.linux.gidMappings = s.linux.uidMappings;
  };
  const open = (root: string) => chmodSync(root, 0o777);
  /** Without its tmpfs: what the image has in /dev is there. */
  const noDev = (s: Linux) => {
    s.mounts = s.mounts!.filter(({ destination }) => !destination.startsWith("/dev"));
  };
  const stat = (...paths: string[]) => `for f in ${paths.join(" ")}; do stat -c '%n %F %t:%T %a %u:%g' $f; done`;

  test("the default devices and links are always there", async () => {
    const { out } = await run(
      `${stat("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")}
       for f in fd stdin stdout stderr ptmx; do readlink /dev/$f; done; ls /dev/core; head -c 2 /dev/zero | wc -c`,
      [],
    );
    const numbers = { null: "1:3", zero: "1:5", full: "1:7", random: "1:8", urandom: "1:9", tty: "5:0" };
    expect(out.trim().split("\n")).toEqual([
      ...Object.entries(numbers).map(([name, n]) => `/dev/${name} character special file ${n} 666 0:0`),
      ...["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"],
      ...(existsSync("/proc/kcore") ? ["/dev/core"] : []),
      "2",
    ]);
  });

  test.each<[string, Device, string]>([
    ["character", { path: "/dev/x", type: "c", major: 1, minor: 5 }, "character special file 1:5 666 0:0"],
    ["unbuffered", { path: "/dev/x", type: "u", major: 1, minor: 5 }, "character special file 1:5 666 0:0"],
    ["block", { path: "/dev/x", type: "b", major: 7, minor: 300, fileMode: 0o600 }, "block special file 7:12c 600 0:0"],
    ["FIFO", { path: "/dev/x", type: "p", fileMode: 0o640, uid: 5, gid: 6 }, "fifo 0:0 640 5:6"],
    [
      "mode and owner",
      { path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 0o2460, uid: 7, gid: 8 },
      "character special file 1:3 2460 7:8",
    ],
    [
      "mode with the type in it",
      { path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 0o20600 },
      "character special file 1:3 600 0:0",
    ],
    ["mode 0", { path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 0 }, "character special file 1:3 0 0:0"],
    [
      "in a directory of its own",
      { path: "/dev/a/b/x", type: "c", major: 1, minor: 3 },
      "character special file 1:3 666 0:0",
    ],
    ["outside /dev", { path: "/srv/x", type: "c", major: 1, minor: 3 }, "character special file 1:3 666 0:0"],
    ["in the root", { path: "/x", type: "c", major: 1, minor: 3 }, "character special file 1:3 666 0:0"],
    [
      "a default one with another mode",
      { path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 0o600 },
      "character special file 1:3 600 0:0",
    ],
  ])("%s", async (_, device, expected) => {
    const { out, err } = await run(stat(device.path), [device]);
    expect([out, err]).toEqual([`${device.path} ${expected}\n`, ""]);
  });

  test("what is there already: the same device is fine, anything else an error", async () => {
    const device: Device = { path: "/mine", type: "c", major: 1, minor: 3 };
    const same = await run("echo x > /mine && echo ok", [device], {
      prepare: (root) => mknodat(k.AT_FDCWD, join(root, "mine"), k.S_IFCHR | 0o666, makedev(1, 3)),
    });
    expect(same.out).toBe("ok\n");
    const others: ((path: string) => void)[] = [
      (path) => writeFileSync(path, "x"),
      (path) => mkdirSync(path),
      (path) => symlinkSync("/dev/null", path),
      (path) => mknodat(k.AT_FDCWD, path, k.S_IFCHR | 0o666, makedev(1, 5)),
      (path) => mknodat(k.AT_FDCWD, path, k.S_IFBLK | 0o666, makedev(1, 3)),
    ];
    for (const make of others) {
      const { code, err } = await run("true", [device], { prepare: (root) => make(join(root, "mine")) });
      expect({ code, err }).toEqual({
        code: 1,
        err: expect.stringContaining("/mine: there is another file of that name"),
      });
    }
    const null_ = await run("true", [], {
      prepare: (root) => {
        mkdirSync(join(root, "dev"));
        writeFileSync(join(root, "dev/null"), "");
      },
      change: noDev,
    });
    expect(null_.err).toContain("device /dev/null: there is another file of that name");
  });

  test("a directory that is a symlink leads to a place inside the root", async () => {
    const { out, root } = await run("ls -l /real/x", [{ path: "/link/x", type: "c", major: 1, minor: 3 }], {
      prepare: (root) => {
        mkdirSync(join(root, "real"));
        symlinkSync("../../../../real", join(root, "link"));
      },
    });
    expect(out).toStartWith("crw-rw-rw-");
    expect(readdirSync(join(root, "real"))).toEqual(["x"]);
  });

  test("/dev that is bound is left as it is", async () => {
    const { out, root } = await run(
      "ls /dev /other",
      [
        { path: "/other/x", type: "p" },
        { path: "/dev/y", type: "p" },
      ],
      {
        prepare: (root) => mkdirSync(join(root, "../bound/pts"), { recursive: true }),
        change: (s) => {
          noDev(s);
          s.mounts!.push({ destination: "/dev", source: "bound", options: ["rbind"] } as Mount);
        },
      },
    );
    expect(out).toBe("/dev:\npts\n\n/other:\nx\n");
    expect(readdirSync(join(root, "../bound"))).toEqual(["pts"]);
  });

  test("an image's own /dev gets what is missing, and ptmx that is the container's", async () => {
    const { out } = await run("readlink /dev/ptmx; cat /dev/null; ls /dev/own; ls -l /dev/null | cut -c1", [], {
      prepare: (root) => {
        mkdirSync(join(root, "dev"));
        writeFileSync(join(root, "dev/own"), "");
        mknodat(k.AT_FDCWD, join(root, "dev/ptmx"), k.S_IFCHR | 0o666, makedev(5, 2));
        mknodat(k.AT_FDCWD, join(root, "dev/null"), k.S_IFCHR | 0o666, makedev(1, 3));
      },
      change: noDev,
    });
    expect(out).toBe("pts/ptmx\n/dev/own\nc\n");
  });

  test("an entry of mounts that is there goes before a device", async () => {
    const { out } = await run("cat /dev/null", [], {
      prepare: (root) => writeFileSync(join(root, "../file"), "bound\n"),
      change: (s) => s.mounts!.push({ destination: "/dev/null", source: "file", options: ["bind"] }),
    });
    expect(out).toBe("bound\n");
  });

  test("in a user namespace the host's nodes are bound, a FIFO is made", async () => {
    const devices: Device[] = [
      { path: "/dev/zero", type: "c", major: 1, minor: 5 },
      { path: "/dev/pipe", type: "p", fileMode: 0o600, uid: 3 },
    ];
    const { out, err } = await run(
      "head -c 3 /dev/zero | wc -c; echo x > /dev/null && stat -c '%F %a %u' /dev/pipe; grep -c ' /dev/zero ' /proc/self/mountinfo",
      devices,
      { change: userns, prepare: open },
    );
    expect([out, err]).toEqual(["3\nfifo 600 3\n1\n", ""]);
  });

  test.each<[string, Device, string]>([
    ["missing on the host", { path: "/dev/no-such", type: "c", major: 1, minor: 3 }, "the host's is missing"],
    ["another on the host", { path: "/dev/zero", type: "c", major: 1, minor: 3 }, "the host's is another"],
  ])("in a user namespace, %s: an error", async (_, device, message) => {
    const { code, err } = await run("true", [device], { change: userns, prepare: open });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
  });

  test.each<[string, Device, string]>([
    ["no numbers", { path: "/dev/x", type: "c" }, "needs major and minor"],
    ["/", { path: "/", type: "p" }, "names no file"],
    ["in /proc", { path: "/proc/x", type: "c", major: 1, minor: 3 }, "/proc"],
  ])("refused: %s", async (_, device, message) => {
    const { code, err } = await run("true", [device]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
  });
});
