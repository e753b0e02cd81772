import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { close } from "../../src/linux/file.ts";
import { sealedExecutable } from "../../src/linux/process.ts";
import { encode } from "../../src/program/elf.ts";
import { Program } from "../../src/program/ir.ts";
import { MACHINE } from "../../src/program/machine.ts";
import { mountsOfRoot } from "../../src/runtime/no-pivot.ts";
import type { Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

/** Enters the mount namespace of `pid`, takes away what lies over its root, enters again, and lists these. */
function uncover(pid: number, paths: string[]): { out: string; err: string } {
  const p = new Program(2);
  const why = "uncover";
  const pidfd = p.result(why, "pidfd", "pidfd_open", [pid, 0]);
  p.call(why, "setns", [pidfd, k.CLONE_NEWNS]);
  p.call(why, "umount2", [p.text("/"), k.MNT_DETACH]);
  p.call(why, "setns", [pidfd, k.CLONE_NEWNS]);
  p.call(why, "execve", [
    p.text("/bin/busybox"),
    p.strings(["ls", "-d", ...paths], "ls"),
    p.strings([], "environment"),
  ]);
  const fd = sealedExecutable("uncover", encode(p, MACHINE));
  try {
    const { stdout, stderr } = Bun.spawnSync([`/proc/${process.pid}/fd/${fd}`]);
    return { out: stdout.toString(), err: stderr.toString() };
  } finally {
    close(fd);
  }
}

test("mountsOfRoot: what lies on the root's own mount", () => {
  const lines = [
    "20 1 0:2 / / rw - rootfs rootfs rw",
    "21 20 0:3 / /proc rw - proc proc rw",
    "22 20 0:4 / /a\\040b rw - tmpfs x rw",
    "23 22 0:5 / /a\\040b/c rw - tmpfs x rw",
    "24 20 0:6 / /proc rw - tmpfs x rw",
  ];
  expect(mountsOfRoot(lines.join("\n"))).toEqual(["/proc", "/a b", "/proc"]);
});

describe.skipIf(cannotRun !== undefined)(`--no-pivot${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
    chmodSync(runtime.dir, 0o755);
  });
  afterAll(() => runtime.close());

  test.each<[string, (s: Spec & { linux: NonNullable<Spec["linux"]> }) => void]>([
    ["as root", () => {}],
    [
      "in a user namespace",
      (s) => {
        s.linux.namespaces!.push({ type: "user" });
        s.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
        s.linux.gidMappings = s.linux.uidMappings;
      },
    ],
  ])("the root is entered, and nothing else of the host is mounted: %s", async (name, change) => {
    const id = name.replaceAll(" ", "-");
    const bundle = runtime.bundle("sleep 1000", (s) => {
      s.mounts!.push({ destination: "/data", source: "data", options: ["bind"] });
      change(s as never);
    });
    chmodSync(join(bundle, "rootfs"), 0o777);
    mkdirSync(join(bundle, "data/in"), { recursive: true });
    // A mount to which not even root of a user namespace has a way.
    const closed = join(runtime.dir, `closed-${id}/mount`);
    mkdirSync(closed, { recursive: true });
    chmodSync(join(closed, ".."), 0o700);
    Bun.spawnSync(["mount", "-t", "tmpfs", "x", closed]);
    try {
      await runtime.ok("run", "-d", "--no-pivot", "-b", bundle, id);
    } finally {
      Bun.spawnSync(["umount", closed]);
    }
    const look = "pwd; ls / | tr '\\n' ' '; ls /data; cd ../../..; ls -d proc/self; chroot . true && echo chroot";
    const { out } = await runtime.run(["exec", "--cap", "CAP_SYS_CHROOT", id, "sh", "-c", look]);
    expect(out).toContain("/\nbin data dev proc sys in\nproc/self\n");
    expect((await runtime.run(["exec", id, "cat", "/proc/self/mounts"])).out).not.toContain(runtime.dir);
    const { pid } = await runtime.status(id);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(bundle);
    const hidden = ["/proc/self", "/sys/kernel", "/sys/fs/cgroup", "/dev/pts/ptmx"];
    const seen = uncover(pid, ["/bin", ...hidden]);
    // The file system of / itself cannot go. All that was mounted on it has gone.
    expect([seen.out, seen.err.match(/No such file/g)?.length]).toEqual(["/bin\n", hidden.length]);
    await runtime.ok("delete", "-f", id);
  });
});
