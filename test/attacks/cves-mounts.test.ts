import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Mount, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, eventually, Runtime } from "../runtime/bundle.ts";
import { ConsoleSocket } from "../runtime/console-socket.ts";

type Full = Spec & { linux: NonNullable<Spec["linux"]>; process: NonNullable<Spec["process"]> };

describe.skipIf(cannotRun !== undefined)(`mounts under attack${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
    chmodSync(runtime.dir, 0o755);
  });
  afterAll(() => runtime.close());
  let ids = 0;

  interface Options {
    mounts?: Mount[];
    prepare?(root: string, bundle: string): void;
    change?(spec: Full): void;
  }
  function bundleOf(script: string, { mounts = [], prepare, change }: Options): string {
    const bundle = runtime.bundle(script, (s) => {
      s.root!.readonly = false;
      s.mounts = s.mounts!.concat(mounts);
      change?.(s as never);
    });
    prepare?.(join(bundle, "rootfs"), bundle);
    return bundle;
  }
  async function run(script: string, options: Options) {
    const bundle = bundleOf(script, options);
    const result = await runtime.run(["run", "-b", bundle, `cve${ids++}`]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(bundle);
    return { ...result, bundle };
  }

  /** In a volume, a directory and a symlink to `target` that another process turns into each other all the time. */
  async function race(target: string, times: number, attempt: (volume: string) => Promise<void>) {
    const volume = join(runtime.dir, `volume${ids++}`);
    const [one, two] = [join(volume, "d"), join(volume, "link")];
    mkdirSync(one, { recursive: true });
    symlinkSync(target, two);
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "swap.child.ts"), one, two], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const reader = child.stdout.getReader();
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("up\n");
      for (let i = 0; i < times; i++) await attempt(volume);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  }

  test("CVE-2021-30465: a mount point that turns into a symlink to /proc while it is mounted on", async () => {
    const outcomes = new Set<string>();
    await race("/proc", 12, async (volume) => {
      const { code, out, err } = await run("grep -c ' /proc ' /proc/self/mountinfo", {
        mounts: [
          { destination: "/vol", source: volume, options: ["rbind"] },
          // Several, so that one of them is at its last step when the names turn.
          ...Array.from({ length: 20 }, () => ({ destination: "/vol/d", type: "tmpfs", source: "over" })),
        ],
      });
      if (code === 0) expect(out).toStartWith("1\n");
      else expect(err).toMatch(/symlink to \/proc|ELOOP|ENOENT|ENOTDIR|EEXIST|nothing may be mounted|only proc/);
      outcomes.add(code === 0 ? "mounted" : "refused");
    });
    expect(outcomes).toContain("refused");
  });

  test("CVE-2024-45310: nothing is made outside the root where a symlink leads while mount points are made", async () => {
    const victim = join(runtime.dir, "victim");
    mkdirSync(victim);
    await race(victim, 12, async (volume) => {
      await run("true", {
        mounts: [
          { destination: "/vol", source: volume, options: ["rbind"] },
          ...Array.from({ length: 20 }, (_, i) => ({ destination: `/vol/d/${i}/x`, type: "tmpfs", source: "t" })),
          { destination: "/vol/d/file", source: "/etc/passwd", options: ["bind"] },
        ],
      });
      expect(readdirSync(victim)).toEqual([]);
      for (const name of ["d", "link"]) {
        const path = join(volume, name);
        // Whichever is the directory now.
        try {
          rmSync(join(path, "file"), { force: true });
        } catch {}
      }
    });
  });

  test.each<[string, Options, RegExp]>([
    [
      "CVE-2019-16884: a volume over /proc",
      { mounts: [{ destination: "/proc", source: "evil", options: ["bind"] }] },
      /no proc file system/,
    ],
    [
      "CVE-2019-16884: a part of proc over /proc",
      { mounts: [{ destination: "/proc", source: "/proc/sys", options: ["bind"] }] },
      /no proc file system/,
    ],
    [
      "CVE-2019-16884: a volume in /proc/self/attr",
      { mounts: [{ destination: "/proc/self/attr", source: "evil", options: ["bind"] }] },
      /nothing may be mounted inside \/proc/,
    ],
    [
      "CVE-2023-27561: /proc is a symlink of the image",
      { prepare: (root) => symlinkSync("/evil", join(root, "proc")) },
      /ELOOP.*symlink/,
    ],
    [
      "CVE-2019-19921: /proc is a symlink into a volume",
      {
        change: (s) => s.mounts!.unshift({ destination: "/vol", source: "evil", options: ["bind"] }),
        prepare: (root) => symlinkSync("/vol/proc", join(root, "proc")),
      },
      /ELOOP.*symlink/,
    ],
    [
      "CVE-2019-16884: by a symlink of the image",
      {
        mounts: [{ destination: "/data", source: "evil", options: ["bind"] }],
        prepare: (root) => symlinkSync("/proc/self/attr", join(root, "data")),
      },
      /nothing may be mounted inside \/proc/,
    ],
    [
      "CVE-2019-16884: by a symlink of a volume",
      {
        mounts: [
          { destination: "/vol", source: "evil", options: ["bind"] },
          { destination: "/vol/way", source: "evil", options: ["bind"] },
        ],
        prepare: (_, bundle) => symlinkSync("../proc", join(bundle, "evil/way")),
      },
      /symlink to \/proc/,
    ],
  ])("%s", async (_, options, message) => {
    const { code, err } = await run("cat /proc/self/attr/current", {
      ...options,
      prepare(root, bundle) {
        mkdirSync(join(bundle, "evil/proc/self/attr"), { recursive: true });
        options.prepare?.(root, bundle);
      },
    });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(message) });
  });

  test("CVE-2025-31133: what covers a masked path is the null device, whatever the container's /dev/null is", async () => {
    const { out, bundle } = await run(
      "cat /secret; stat -c '%F %t:%T' /secret; cat /proc/keys; stat -c %F /proc/keys; ls -A /hidden",
      {
        mounts: [{ destination: "/dev", source: "dev", options: ["bind"] }],
        change: (s) => s.linux.maskedPaths!.push("/secret", "/hidden"),
        prepare(root, bundle) {
          mkdirSync(join(bundle, "dev/pts"), { recursive: true });
          for (const name of ["shm", "mqueue"]) mkdirSync(join(bundle, "dev", name));
          symlinkSync("/proc/sys/kernel/core_pattern", join(bundle, "dev/null"));
          writeFileSync(join(root, "secret"), "secret");
          mkdirSync(join(root, "hidden/inside"), { recursive: true });
        },
      },
    );
    expect(out).toBe("character special file 1:3\ncharacter special file\n");
    expect(readFileSync(join(bundle, "rootfs/secret"), "utf8")).toBe("secret");
    const device = await run("true", {
      change: (s) => {
        s.mounts = s.mounts!.filter(({ destination }) => !destination.startsWith("/dev"));
      },
      prepare(root) {
        mkdirSync(join(root, "dev"));
        symlinkSync("/proc/sysrq-trigger", join(root, "dev/null"));
      },
    });
    expect(device).toMatchObject({ code: 1, err: expect.stringContaining("device /dev/null: there is another file") });
  });

  test("CVE-2025-52565: a symlink at /dev/console takes the terminal nowhere", async () => {
    const bundle = bundleOf("sleep 1000", {
      mounts: [{ destination: "/dev", source: "dev", options: ["rbind"] }],
      change: (s) => {
        s.process.terminal = true;
        s.mounts = [
          ...s.mounts!.filter((m) => !m.destination.startsWith("/dev/") && m.type !== "tmpfs"),
          { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"] },
        ];
      },
      prepare(root, bundle) {
        mkdirSync(join(bundle, "dev/pts"), { recursive: true });
        writeFileSync(join(root, "target"), "untouched");
        symlinkSync("/target", join(bundle, "dev/console"));
      },
    });
    const path = join(runtime.dir, "console");
    const socket = new ConsoleSocket(path);
    const { code, err } = await runtime.run(["create", "-b", bundle, "--console-socket", path, "console"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/console.*ELOOP/) });
    expect(readFileSync(join(bundle, "rootfs/target"), "utf8")).toBe("untouched");
    closeSync(socket.receive());
  });

  test("CVE-2025-52881: sysctls go to proc itself, not to what an image has at its path", async () => {
    const fake = "proc/sys/net/ipv4/ip_forward";
    const prepare = (root: string) => {
      mkdirSync(join(root, "proc/sys/net/ipv4"), { recursive: true });
      writeFileSync(join(root, fake), "fake");
    };
    const sysctl = (s: Full) => {
      s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
    };
    const real = await run("cat /proc/sys/net/ipv4/ip_forward", { prepare, change: sysctl });
    expect(real.out).toBe("1\n");
    expect(readFileSync(join(real.bundle, "rootfs", fake), "utf8")).toBe("fake");
    const none = await run("true", {
      prepare,
      change: (s) => {
        sysctl(s);
        s.mounts = s.mounts!.filter(({ type }) => type !== "proc");
        s.linux.maskedPaths = [];
        s.linux.readonlyPaths = [];
      },
    });
    expect(none.code).toBe(1);
    expect(readFileSync(join(none.bundle, "rootfs", fake), "utf8")).toBe("fake");
  });

  test.each<[string, boolean]>([
    ["with a cgroup mount", true],
    ["without one", false],
  ])("CVE-2023-25809: the cgroups below a /sys that is bound read-only are read-only: %s", async (_, cgroup) => {
    const { out, err } = await run(
      "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/evil && echo made $d; done; ls -d /sys/fs/cgroup",
      {
        change(s) {
          s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "cgroup");
          s.mounts = s.mounts!.filter(
            ({ destination }) => destination !== "/sys" && (cgroup || destination !== "/sys/fs/cgroup"),
          );
          const sys = {
            destination: "/sys",
            type: "none",
            source: "/sys",
            options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
          };
          s.mounts.splice(1, 0, sys);
        },
      },
    );
    expect(out).toBe("/sys/fs/cgroup\n");
    expect(err).toContain("Read-only file system");
    await eventually("nothing was made", () => !existsSync("/sys/fs/cgroup/unified/evil"));
  });
});
