import * as k from "../linux/constants.ts";
import type { Process } from "../spec/oci-runtime.ts";
import { Builder, FD } from "./builder.ts";
import { execProcess } from "./execve.ts";

/** A record that says: those after it come from the init program. */
export const INIT_RECORD = 0xffff_fffe;

/** Becomes the init program, which waits open on descriptor `FD.exit` (execveat(2) with an empty path). */
export function handOver(p: Builder, _init: number, process: Process): void {
  const argv = p.strings(["/sbin/docker-init", "--", ...(process.args ?? [])], "docker-init");
  const envp = p.strings(process.env ?? [], `${process.env?.length ?? 0} variables`);
  p.call("--init", "fcntl", [FD.report, k.F_SETFD, 0]);
  const marker = p.bytes(new Uint8Array(new Uint32Array([INIT_RECORD, 0]).buffer), "init record");
  p.call("--init: rows that fail from here on are the init program's", "write", [FD.report, marker, 8]);
  p.call("--init", "execveat", [FD.exit, p.text(""), argv, envp, k.AT_EMPTY_PATH]);
}

const SIGTERM = 15;
const SIGCHLD = 17;

/**
 * The container's pid 1 of `--init`: starts the command, passes every signal on to it, reaps whatever dies, and ends as
 * the command does. clone(2) and not clone3(2), which the default seccomp profile answers with ENOSYS.
 */
export function superviseProgram(process: Process): Builder {
  const p = new Builder();
  const child = p.label("command");
  const wait = p.label("wait for a signal");
  const reap = p.label("reap");
  const end = p.label("end");
  const all = p.bytes(new Uint8Array(8).fill(0xff), "all");
  p.call("--init", "prctl", [k.PR_SET_NAME, p.text("docker-init"), 0, 0, 0]);
  p.call("--init: signals are waited for", "rt_sigprocmask", [2, all, 0, 8]);
  const pid = p.result("--init", "command", "clone", [SIGCHLD, 0, 0, 0, 0], { child });
  p.call("--init: the command tells of its execve", "close", [FD.report]);

  p.place(wait);
  const info = p.room(128, "siginfo");
  const signal = p.result("--init", "signal", "rt_sigtimedwait", [all, info, 0, 8]);
  p.branch("--init", signal, "equal", SIGCHLD, reap);
  p.call("--init: passes the signal on", "kill", [pid, signal], { ignore: "all" });
  // A label needs a row that always jumps: a slot is equal to itself.
  p.branch("--init", signal, "equal", signal, wait);
  p.place(reap);
  const status = p.room(8, "wait status");
  const dead = p.result("--init", "dead", "wait4", [-1, status, k.WNOHANG, 0], { ignore: ["ECHILD"] });
  p.branch("--init: all reaped", dead, "at most", 0, wait);
  p.branch("--init: the command ended", dead, "equal", pid, end);
  p.branch("--init", dead, "equal", dead, reap);
  p.place(end);
  p.exit("--init: ends as the command did", status);

  p.place(child);
  p.call("--init", "rt_sigprocmask", [2, p.bytes(new Uint8Array(8), "none"), 0, 8]);
  // A group of its own in the foreground, so that ^C reaches the command; without a terminal neither matters.
  p.call("--init", "fcntl", [FD.report, k.F_SETFD, 1]);
  execProcess(p, process);
  return p;
}

/** A pid 1 that starts nothing: it reaps what others leave behind, and ends at SIGTERM. */
export function pauseProgram(): Builder {
  const p = new Builder();
  const wait = p.label("wait for a signal");
  const reap = p.label("reap");
  const end = p.label("end");
  const all = p.bytes(new Uint8Array(8).fill(0xff), "all");
  p.call("pause", "prctl", [k.PR_SET_NAME, p.text("pause"), 0, 0, 0]);
  p.call("pause: signals are waited for", "rt_sigprocmask", [2, all, 0, 8]);
  p.call("pause: it runs", "close", [FD.report]);
  p.place(wait);
  const info = p.room(128, "siginfo");
  const signal = p.result("pause", "signal", "rt_sigtimedwait", [all, info, 0, 8]);
  p.branch("pause", signal, "equal", SIGTERM, end);
  p.place(reap);
  const dead = p.result("pause", "dead", "wait4", [-1, 0, k.WNOHANG, 0], { ignore: ["ECHILD"] });
  p.branch("pause: all reaped", dead, "at most", 0, wait);
  p.branch("pause", dead, "equal", dead, reap);
  p.place(end);
  p.exit("pause: ends", p.room(8, "0"));
  return p;
}
