import { posix } from "node:path";
import * as k from "../../linux/constants.ts";
import { Data, Offset } from "../../program/ir.ts";
import type { Process } from "../../spec/oci-runtime.ts";
import { type Builder, FD } from "../builder.ts";
import { pathOf } from "../execve.ts";
import { clone3, PID_RECORD } from "../keeper.ts";
import { labelledKeyring } from "../labels.ts";
import { cloneArgs } from "../namespaces.ts";
import type { Launcher } from "../plan.ts";

/**
 * First words of records beside {@link PID_RECORD}: the container waits for its hooks; it waits for `start`; its seccomp
 * filter has a listener, whose number follows.
 */
export const HOOKS_RECORD = 0xffff_fffd;
export const READY_RECORD = 0xffff_fffc;
export const LISTENER_RECORD = 0xffff_fffb;

/** Where the spawned process finds its descriptors: stdio, the report, and these. */
export const OCI_FD = {
  report: FD.report,
  exit: FD.exit,
  sync: 5,
  console: FD.consoleFar,
  fifo: 8,
  startReport: 9,
  userns: 10,
  /** A full pipe, at which the process waits whose filter notifies. */
  gate: 11,
  /** Of an exec: the pidfd of the container's first process. */
  target: 12,
  /** The first of the namespaces that are joined by path. */
  joined: 560,
  /** The first of `--preserve-fds`. */
  preserved: 600,
} as const;

/** The report and what else must survive the first close, while 3 and up become the preserved ones. */
const ASIDE = 590;

export interface Shape {
  /** The parent waits and tells the exit status on {@link OCI_FD.exit}; else it ends, and the container is our child. */
  wait: boolean;
  /** The container waits for `start` before its execve. */
  fifo: boolean;
  /** It waits for hooks before pivot_root. */
  hooks: boolean;
  /** Its seccomp filter has a listener. */
  listener: boolean;
  /** Which of its stdio are the host's /dev/null; it gets its own. */
  nulls?: readonly number[];
  /** How many descriptors after stdio the container keeps. */
  preserve: number;
  /** Name of the container's session keyring. */
  keyring: string | undefined;
  /** As in the plan: a plain user's own, which `exec` must be able to find while it waits. */
  traceable?: boolean;
  /** It is new: later ones may find it by its name. */
  newKeyring?: boolean;
}

/** How many bytes `start` writes into the FIFO: the number of the descriptor that failures go to from then on. */
export function goNumber(shape: Pick<Shape, "preserve">): number {
  return FD.report + shape.preserve + 2;
}

/**
 * A launch without a keeper: the caller of the runtime is the subreaper and waits itself.
 *
 *   create                parent                 container                                start
 *     | spawn ------------> |                       |
 *     |                     | clone3 -------------> |
 *     | <- ~0, pid -------- | ends                  | set-up
 *     | <- HOOKS ------------------------------------ | (with hooks)
 *     | runs hooks; sync: one byte -----------------> | pivot_root …
 *     | <- LISTENER, its number --------------------- | (with a seccomp listener)
 *     | pidfd_getfd, sends it; empties the gate ----> |
 *     | <- READY ------------------------------------ |
 *     | ends                                          | reads exec.fifo <- go bytes ------ |
 *                                                     | execve, or row, errno: exec.report -> | reads to its end
 *
 * `run` has no FIFO: end of file on the report says that execve happened.
 */
export function ociLauncher(shape: Shape, process: Process): Launcher {
  return {
    clone(p, options) {
      const why = "the container's first process";
      const bytes = cloneArgs(shape.wait ? options.flags : options.flags + CLONE_PARENT, options.cgroup !== undefined);
      // With CLONE_PARENT the signal is the parent's own, and naming one is an error.
      if (!shape.wait) bytes.fill(0, EXIT_SIGNAL, EXIT_SIGNAL + 8);
      const pid = options.birth?.(p) ?? clone3(p, why, bytes, options.cgroup, options.child);
      const record = new Data(new Uint8Array(new Uint32Array([PID_RECORD, 0, 0, 0]).buffer), "pid record");
      p.store("tell the pid", pid, new Offset(record, 4));
      p.call("tell the pid", "write", [FD.report, record, 8]);
      const status = p.room(8, "wait status");
      if (shape.wait) {
        const why = "the parent keeps nothing of the container";
        p.call(why, "close_range", [0, FD.report, 0]);
        p.call(why, "close_range", [OCI_FD.exit + 1, 0xffff_ffff, 0]);
        p.call("wait", "wait4", [pid, status, 0, 0]);
        p.call("tell how it ended", "write", [OCI_FD.exit, status, 8], { ignore: "all" });
      }
      p.exit("the parent ends", status);
    },
    inChild(p) {
      if (shape.keyring === undefined) return;
      const why = "the container's session keyring";
      const ring = p.temporary("keyring");
      const name = p.text(shape.keyring);
      labelledKeyring(p, process, () =>
        p.call(why, "keyctl", [k.KEYCTL_JOIN_SESSION_KEYRING, name], { ignore: ["ENOSYS", "EDQUOT"], into: ring }),
      );
      if (!shape.newKeyring) return;
      const none = p.label("no keyring");
      p.branch(why, ring, "at most", -1, none);
      p.call(`${why}: exec finds it by name`, "keyctl", [k.KEYCTL_SETPERM, ring, FINDABLE]);
      p.place(none);
    },
    beforePivot(p) {
      if (!shape.hooks) return;
      p.call("hooks: ready for them", "write", [FD.report, record(p, HOOKS_RECORD), 8]);
      p.call("hooks: until they have run", "read", [OCI_FD.sync, p.room(8, "byte"), 1], { expect: 1 });
    },
    closeAll(p) {
      const why = "only stdio, what is preserved, and the report stay open";
      const first = FD.report + shape.preserve;
      const [report, fifo, startReport] = [first, first + 1, first + 2];
      const gate = gateNumber(shape);
      if (shape.preserve > 0) p.call(why, "dup3", [FD.report, ASIDE, k.O_CLOEXEC], { into: p.report });
      if (shape.fifo) {
        p.call(why, "dup3", [OCI_FD.fifo, ASIDE + 1, k.O_CLOEXEC]);
        p.call(why, "dup3", [OCI_FD.startReport, ASIDE + 2, k.O_CLOEXEC]);
      }
      if (shape.listener) p.call(why, "dup3", [OCI_FD.gate, ASIDE + 3, k.O_CLOEXEC]);
      for (let i = 0; i < shape.preserve; i++)
        p.call("--preserve-fds", "dup3", [OCI_FD.preserved + i, FD.report + i, 0]);
      if (shape.preserve > 0) p.call(why, "dup3", [ASIDE, report, k.O_CLOEXEC], { into: p.report });
      else p.call(why, "fcntl", [FD.report, k.F_SETFD, 1]);
      if (shape.fifo) {
        p.call(why, "dup3", [ASIDE + 1, fifo, k.O_CLOEXEC]);
        p.call(why, "dup3", [ASIDE + 2, startReport, k.O_CLOEXEC]);
      }
      if (shape.listener) p.call(why, "dup3", [ASIDE + 3, gate, k.O_CLOEXEC]);
      p.call(why, "close_range", [gate + (shape.listener ? 1 : 0), 0xffff_ffff, 0]);
    },
    beforeUser(p) {
      if (shape.nulls?.length) ownNull(p, shape.nulls);
      if (shape.fifo) {
        lookUp(p, process);
        // It may wait long, where others of a shared pid namespace could trace it (CVE-2016-9962).
        if (!shape.traceable) p.call("nobody may trace it while it waits", "prctl", [k.PR_SET_DUMPABLE, 0, 0, 0, 0]);
      }
    },
    listener(p, fd) {
      const record = new Data(new Uint8Array(new Uint32Array([LISTENER_RECORD, 0, 0, 0]).buffer), "listener record");
      p.store("seccomp: tell the listener's number", fd, new Offset(record, 4));
      p.call("seccomp: tell the listener's number", "write", [p.report, record, 8]);
      // Whatever is called here may be notified, but for write(2), and nobody listens yet; and execve would close it.
      p.call("seccomp: until its listener is handed over", "write", [gateNumber(shape), p.room(8, "byte"), 1]);
    },
    beforeExec(p) {
      if (!shape.fifo) return;
      const go = goNumber(shape);
      p.call("ready for start", "write", [p.report, record(p, READY_RECORD), 8]);
      // A filter is installed by now, so this is one call that every profile allows: what it returns is the number of
      // the descriptor to which `start` listens.
      p.call("until start", "read", [FD.report + shape.preserve + 1, p.room(1024, "go"), go], {
        expect: go,
        into: p.report,
      });
    },
  };
}

/** After what the container keeps, the report and the FIFOs. */
function gateNumber(shape: Shape): number {
  return FD.report + shape.preserve + (shape.fifo ? 3 : 1);
}

/** What a session keyring has anyway (security/keys/process_keys.c), and search for its user (linux/key.h). */
const FINDABLE = 0x3f13_0000 | 0x8_0000;
const CLONE_PARENT = 0x8000;
/** Offset of clone_args.exit_signal. */
const EXIT_SIGNAL = 32;
const X_OK = 1;

function record(p: Builder, kind: number): Data {
  return p.bytes(new Uint8Array(new Uint32Array([kind, 0]).buffer), "record");
}

/** No file of the host's stays open: a checkpoint could not name it. An image without the device keeps the host's. */
function ownNull(p: Builder, nulls: readonly number[]): void {
  const why = "stdio: its own /dev/null";
  const device = p.temporary("null");
  const none = p.label("no /dev/null");
  const how = p.how(k.O_RDWR, k.RESOLVE_NO_SYMLINKS);
  p.call(why, "openat2", [k.AT_FDCWD, p.text("/dev/null"), how, 24], { into: device, ignore: "all" });
  p.branch(why, device, "at most", -1, none);
  for (const fd of nulls) p.call(why, "dup3", [device, fd, 0]);
  p.place(none);
}

/** A command that is missing is an error of `create`, though its execve comes with `start`. */
function lookUp(p: Builder, process: Process): void {
  const command = process.args?.[0] ?? "";
  const why = "process.args";
  if (command.includes("/")) {
    p.call(why, "faccessat", [k.AT_FDCWD, p.text(command), X_OK]);
    return;
  }
  const found = p.label("found");
  for (const directory of new Set(pathOf(process.env).split(":"))) {
    const path = posix.join(directory || ".", command);
    const result = p.temporary(path);
    p.call(`${why}, in PATH`, "faccessat", [k.AT_FDCWD, p.text(path), X_OK], { ignore: "all", into: result });
    p.branch(`${why}, in PATH`, result, "equal", 0, found);
  }
  p.fail(`${why}: nowhere in PATH`, "execve", command, "ENOENT");
  p.place(found);
}
