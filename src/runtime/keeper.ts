import * as k from "../linux/constants.ts";
import { Data, type Label, Offset, type Slot } from "../program/ir.ts";
import { type Builder, FD } from "./builder.ts";
import { CLONE_ARGS_CGROUP, CLONE_ARGS_SIZE, cloneArgs } from "./namespaces.ts";
import { receiveDescriptor } from "./terminal.ts";

/** First word of the record that tells the engine the pid of the container; any other is the row that failed. */
export const PID_RECORD = 0xffff_ffff;

/**
 * The first rows. Until its execve the container's side of this process holds descriptors of the host, where others of
 * its pid namespace see it: they may neither trace it nor look at what it has open (CVE-2016-9962). That goes with the
 * memory, so the child of clone3 has it too, and with setns into a user namespace whose root could trace anybody.
 * `traceable`: there is nobody else in its namespaces, and its own plain user has to find them (setns(2) asks for the
 * right to trace).
 */
export function beKeeper(p: Builder, traceable = false): void {
  p.call("keeper", "prctl", [k.PR_SET_NAME, p.text("inro-keeper"), 0, 0, 0]);
  if (traceable) return;
  p.call("keeper: nobody may trace it, nor the set-up", "prctl", [k.PR_SET_DUMPABLE, 0, 0, 0, 0]);
}

/** Else the container would possess what is in the session keyring of whoever started the engine (keyrings(7)). */
export function ownKeyring(p: Builder): void {
  const options = { ignore: ["ENOSYS", "EDQUOT", "EPERM"] } as const;
  p.call("a session keyring of its own", "keyctl", [k.KEYCTL_JOIN_SESSION_KEYRING, 0], options);
}

export interface CloneOptions {
  /** CLONE_NEW*. */
  flags: number;
  cgroup: Slot | undefined;
  /** Where the child goes on. */
  child: Label;
  terminal: boolean;
  /** Descriptors that the keeper holds for the engine ({@link FD}.kept). */
  kept?: number;
  /** In place of clone3: rows that give the pid. */
  birth?: ((p: Builder) => Slot) | undefined;
}

/**
 * The keeper: parent of a container (or of an exec), 16 KB of memory, alive as long as its output may be wanted.
 *
 *   engine                      keeper                               container
 *     | spawn ------------------> |                                      |
 *     |                           | clone3 ----------------------------> |
 *     | <-- report: ~0, pid ----- |                                      | set-up
 *     |                           | <----------- console: pty master --- | (with a terminal)
 *     |                           | close report                         |
 *     | <-- report: row, errno ---------------------------------------- | (a failure)
 *     | <-- report: end of file ---------------------------------------- | execve (CLOEXEC)
 *     |                           | wait4 <----------------------------- | exit
 *     |                           | status file, exit pipe               |
 *     | <-- exit: wait status --- | ppoll: holds the pipes until         |
 *     | SIGKILL ----------------> | the engine has drained them          |
 *
 * An engine that starts anew finds it by its command line, and takes the pipes with pidfd_getfd(2).
 */
export function cloneAndKeep(p: Builder, options: CloneOptions): void {
  const why = "the container's first process";
  const pid =
    options.birth?.(p) ??
    clone3(p, why, cloneArgs(options.flags, options.cgroup !== undefined), options.cgroup, options.child);

  const record = new Uint8Array(16);
  new DataView(record.buffer).setUint32(0, PID_RECORD, true);
  const report = new Data(record, "pid record");
  p.store("keeper: tell the pid", pid, new Offset(report, 4));
  p.call("keeper: tell the pid", "write", [FD.report, report, 8]);
  // The container's ends go, so that end of file means what it says.
  for (const fd of [FD.stdin, FD.stdout, FD.stderr])
    p.call("keeper: the container's stdio is not its own", "close", [fd], { ignore: "all" });
  if (options.terminal) {
    p.call("keeper: the container's end of the console socket", "close", [FD.consoleFar]);
    receiveDescriptor(p, "keeper: keeps the terminal", FD.console);
  }
  p.call("keeper: end of file on the report means execve", "close", [FD.report]);
  const letGo = "keeper: lets go of the container's files";
  if (options.kept) {
    p.call(letGo, "close_range", [FD.target, FD.kept - 1, 0]);
    p.call(letGo, "close_range", [FD.kept + options.kept, 0xffff_ffff, 0]);
  } else p.call(letGo, "close_range", [FD.target, 0xffff_ffff, 0]);

  const status = p.room(8, "wait status");
  p.call("keeper: waits", "wait4", [pid, status, 0, 0]);
  p.call("keeper: the status survives it", "write", [FD.status, status, 8]);
  p.call("keeper: tells the engine", "write", [FD.exit, status, 8], { ignore: "all" });
  p.call("keeper: holds the output until it is read", "ppoll", [0, 0, 0, 0, 0], { ignore: "all" });
  p.exit("keeper: no further", status);
}

/** clone3(2) with these clone_args, into `cgroup` if there is one. */
export function clone3(p: Builder, why: string, bytes: Uint8Array, cgroup: Slot | undefined, child: Label): Slot {
  const args = p.bytes(bytes, "clone_args");
  if (cgroup) p.store("CLONE_INTO_CGROUP", cgroup, new Offset(args, CLONE_ARGS_CGROUP));
  return p.result(why, "pid", "clone3", [args, CLONE_ARGS_SIZE], { child });
}

/** Where the keeper finds the terminal: descriptor 0 is the lowest free when it arrives. */
export const KEPT_PTY = 0;

/** The child undoes what the keeper's spawn set: no signal blocked. */
export function unblockSignals(p: Builder): void {
  p.call("no signal is blocked", "rt_sigprocmask", [2, p.bytes(new Uint8Array(8), "none"), 0, 8]);
}

/** The child leaves nothing of ours open: stdio, and the report that execve closes (CVE-2016-9962, CVE-2024-21626). */
export function closeAll(p: Builder): void {
  p.call("only stdio and the report stay open", "close_range", [FD.report + 1, 0xffff_ffff, 0]);
  p.call("only stdio and the report stay open", "fcntl", [FD.report, k.F_SETFD, 1]);
}
