import { mkdirSync, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Cgroup } from "../src/cgroups/cgroup.ts";
import { NATIVE_ABI } from "../src/linux/call.ts";
import * as k from "../src/linux/constants.ts";
import { close } from "../src/linux/file.ts";
import { pipe, raise, reap, sealedExecutable, spawn } from "../src/linux/process.ts";
import { encode } from "../src/program/elf.ts";
import type { Program } from "../src/program/ir.ts";
import { Builder, FD } from "../src/runtime/builder.ts";
import { launchProgram } from "../src/runtime/launch.ts";
import type { Rootfs } from "../src/runtime/rootfs.ts";
import type { Spec } from "../src/spec/oci-runtime.ts";
import type { Subject } from "./subject.ts";

/** What no engine can be faster than: the kernel's own work for a container, asked for by a program of bare calls. */

/** Directories of an overlay that are new for every run; making them is not the floor's part. */
export class OverlayDirectories {
  readonly rootfs: Rootfs;
  readonly target: string;
  readonly #upper: string;
  readonly #work: string;

  constructor(lower: string, dir: string) {
    this.#upper = join(dir, "upper");
    this.#work = join(dir, "work");
    this.target = join(dir, "run");
    mkdirSync(this.target, { recursive: true });
    this.rootfs = { kind: "overlay", lower: [lower], upper: this.#upper, work: this.#work, volatile: true };
    this.renew();
  }

  renew(): void {
    for (const path of [this.#upper, this.#work]) {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path);
    }
  }
}

const machine = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";
const SIGCHLD = 17n;

/** clone3, overlay, six file systems, pivot_root, execve, wait4; nothing else. */
export function bareProgram(directories: OverlayDirectories): Program {
  const { rootfs, target } = directories;
  if (rootfs.kind !== "overlay") throw new Error("the floor has an overlay");
  const p = new Builder();
  const args = new BigUint64Array(11);
  args[0] = BigInt(
    k.CLONE_NEWNS |
      k.CLONE_NEWPID |
      k.CLONE_NEWNET |
      k.CLONE_NEWIPC |
      k.CLONE_NEWUTS |
      k.CLONE_NEWCGROUP |
      k.CLONE_NEWTIME,
  );
  args[4] = SIGCHLD;
  const child = p.label("container");
  const pid = p.result("container", "pid", "clone3", [p.bytes(new Uint8Array(args.buffer), "clone_args"), 88], {
    child,
  });
  const status = p.room(8, "status");
  p.call("wait", "wait4", [pid, status, 0, 0]);
  p.exit("its status", status);

  p.place(child);
  p.call("private", "mount", [0, p.text("/"), 0, k.MS_REC | k.MS_PRIVATE, 0]);
  p.root = p.newMount(
    "root",
    "overlay",
    "overlay",
    [
      ["lowerdir", rootfs.lower[0]],
      ["upperdir", rootfs.upper],
      ["workdir", rootfs.work],
      ["volatile", undefined],
    ],
    0,
  );
  const place = p.temporary("place");
  p.call("root", "openat", [k.AT_FDCWD, p.text(target), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0], { into: place });
  p.attach("root", p.root, place);
  for (const [type, path] of [
    ["proc", "/proc"],
    ["tmpfs", "/dev"],
    ["devpts", "/dev/pts"],
    ["sysfs", "/sys"],
    ["mqueue", "/dev/mqueue"],
    ["tmpfs", "/dev/shm"],
  ] as const) {
    p.makeDirectory(path, path);
    p.attach(path, p.newMount(path, type, type, [], 0), p.inRoot(path, path));
  }
  p.call("pivot", "fchdir", [p.root]);
  p.call("pivot", "pivot_root", [p.text("."), p.text(".")]);
  p.call("pivot", "umount2", [p.text("."), k.MNT_DETACH]);
  p.call("execve", "execve", [p.text("/bin/true"), p.strings(["true"], "true"), p.strings([], "")]);
  return p;
}

function nullDevice(): number {
  return raise(openSync("/dev/null", "r+"));
}

/** The bare program, spawned and waited for. */
export function bareFloor(directories: OverlayDirectories): Subject & { close(): void } {
  const file = sealedExecutable("floor", encode(bareProgram(directories), machine));
  const nothing = nullDevice();
  const fds = [0, 1, 2, FD.report].map((fd) => [nothing, fd] as const);
  return {
    name: "floor, bare",
    does: "the kernel's part: clone3 with 7 namespaces, overlay and 6 mounts, pivot_root, execve, wait4",
    run() {
      directories.renew();
      const start = performance.now();
      const status = reap(spawn({ path: `/proc/self/fd/${file}`, argv: ["floor"], fds }), 0);
      const time = performance.now() - start;
      if (status !== 0) throw new Error(`the floor's program failed: wait status ${status}`);
      return time;
    },
    close() {
      close(file);
      close(nothing);
    },
  };
}

/** The very program that inro runs, with its masks, capabilities and seccomp filter, made once and spawned each time. */
export function rowsFloor(spec: Spec, directories: OverlayDirectories, cgroup: Cgroup): Subject & { close(): void } {
  const { rootfs, target: runDir } = directories;
  const program = launchProgram({
    id: "floor",
    spec,
    rootfs,
    cgroup,
    runDir,
    stdin: false,
    terminal: false,
    init: false,
  });
  const file = sealedExecutable("inro-keeper", encode(program, machine));
  const nothing = nullDevice();
  return {
    name: "floor, inro's rows",
    does: `inro's own program of ${program.rows.length} rows (masks, capabilities, seccomp), compiled beforehand, no engine`,
    run() {
      directories.renew();
      const start = performance.now();
      const [report, reportFar] = pipe().map(raise) as [number, number];
      const [exit, exitFar] = pipe().map(raise) as [number, number];
      const fds: (readonly [number, number])[] = [0, 1, 2, FD.keepStdout, FD.keepStderr, FD.status].map(
        (fd) => [nothing, fd] as const,
      );
      const pid = spawn({
        path: `/proc/self/fd/${file}`,
        argv: ["inro-keeper", runDir],
        fds: [...fds, [reportFar, FD.report], [exitFar, FD.exit], [exit, FD.exitFar]],
      });
      close(reportFar);
      close(exitFar);
      // Ends at execve, or with the row that failed.
      const records = Buffer.alloc(64);
      let length = 0;
      for (let got = -1; got !== 0; length += got)
        got = readSync(report, records, length, records.length - length, null);
      // The keeper tells, then holds the output until it is killed; the engine does that too.
      const ended = length === 8 && readSync(exit, records, 0, 8, null) === 8 && records.readInt32LE(0) === 0;
      process.kill(pid, "SIGKILL");
      reap(pid, 0);
      const time = performance.now() - start;
      close(report);
      close(exit);
      if (!ended) throw new Error(`inro's program failed: ${records.subarray(0, length).toString("hex")}`);
      return time;
    },
    close() {
      close(file);
      close(nothing);
    },
  };
}
