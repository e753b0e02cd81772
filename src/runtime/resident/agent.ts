import * as k from "../../linux/constants.ts";
import { BECOME, FRONT_FD, STATUS } from "../../program/front.ts";
import { Data, Program } from "../../program/ir.ts";
import { cloneArgs } from "../namespaces.ts";

/**
 * What a front becomes when its call starts a process: the parent of that, in the caller's place, for as long as the
 * call lasts.
 *
 *     resident                 agent                            child
 *       |                        | clone3 -----------------------> | takes the resident's descriptors (pidfd_getfd)
 *       | <- 1 byte ---------------------------------------------- | has them
 *       |                        |                                 | becomes the launch's program
 *       | <- struct signalfd_siginfo, each signal (in the foreground)
 *       | status: 4 bytes -----> | reaps it, exits
 *       | status and 1 more ---> | reaps whatever there is, exits: the launch has failed
 *
 * Failures come as records of the program (ir.ts) on the connection.
 */
export interface AgentOptions {
  /** Pid of the resident. */
  resident: number;
  /** Descriptors of the resident's. */
  executable: number;
  fds: readonly (readonly [ours: number, theirs: number])[];
  /** Signals of the caller's are passed on, in place of having their effect. */
  foreground: boolean;
  /** Numbers of those that the caller ignores: the launch's program must not. */
  ignored: readonly number[];
}

/** One byte. */
export const HAS_DESCRIPTORS = 1;
/** struct signalfd_siginfo (signalfd(2)); its first word is the number. */
export const SIGNAL = 128;
/** Like {@link STATUS}, with a byte after it. */
export const FAILED = BECOME;

const PIDFD = FRONT_FD - 1;
const SIGNALS = FRONT_FD - 2;
const CLONE_CLEAR_SIGHAND = 0x1_0000_0000;
const SIGCHLD = 17;
const SIG_SETMASK = 2;
const POLLIN = 1;
const NONBLOCK = 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EAGAIN = -11;
/** struct sigaction of the kernel: handler, flags, restorer, mask. */
const SIGACTION_SIZE = 32;

/** All signals but those of this very process: faults, its children's, a terminal's for who is in the background. */
export const PASSED: readonly number[] = Array.from({ length: 64 }, (_, i) => i + 1).filter(
  (signal) =>
    ![4, 5, 6, 7, 8, 9, 11, 13, 17, 19, 21, 22, 23, 27, 28, 31].includes(signal) && (signal < 32 || signal > 33),
);

const set = (signals: readonly number[]) =>
  new Uint8Array(new BigUint64Array([signals.reduce((mask, n) => mask | (1n << BigInt(n - 1)), 0n)]).buffer);

export function agentProgram(options: AgentOptions): Program {
  const p = new Program(FRONT_FD);
  const all = p.bytes(new Uint8Array(8).fill(0xff), "all");
  const byDefault = p.bytes(new Uint8Array(SIGACTION_SIZE), "SIG_DFL");
  const message = p.room(16, "message");
  const child = p.label("child");

  p.call("agent", "prctl", [k.PR_SET_NAME, p.text("inro-runtime"), 0, 0, 0]);
  p.call("signals: none in between", "rt_sigprocmask", [SIG_SETMASK, all, 0, 8]);
  // Whoever ignores it has no children to wait for.
  p.call("agent: its child is waited for", "rt_sigaction", [SIGCHLD, byDefault, 0, 8]);
  const args = p.bytes(cloneArgs(CLONE_CLEAR_SIGHAND, false), "clone_args");
  const pid = p.result("the launch", "launch", "clone3", [args, 88], { child });

  const [wait, quiet] = [p.label("wait"), p.label("no signal")];
  const [ended, failed, next] = [p.label("ended"), p.label("failed"), p.label("next")];
  if (options.foreground) {
    const why = "foreground: signals are passed on";
    const info = p.room(SIGNAL, "siginfo");
    const passed = p.bytes(set(PASSED), "signals");
    const opened = p.result(why, "signals", "signalfd4", [-1, passed, 8, k.O_CLOEXEC | NONBLOCK]);
    p.call(why, "dup3", [opened, SIGNALS, k.O_CLOEXEC]);
    const polled = new Int32Array([FRONT_FD, POLLIN, SIGNALS, POLLIN]);
    p.place(wait);
    p.call(why, "ppoll", [p.bytes(new Uint8Array(polled.buffer), "pollfd"), 2, 0, 0, 8]);
    const came = p.result(why, "signal", "read", [SIGNALS, info, SIGNAL], { ignore: ["EAGAIN"] });
    p.branch(why, came, "at most", 0, quiet);
    p.call(why, "sendto", [FRONT_FD, info, SIGNAL, MSG_NOSIGNAL, 0, 0], { ignore: "all" });
    p.place(quiet);
  } else {
    p.call("signals: as before", "rt_sigprocmask", [SIG_SETMASK, p.bytes(new Uint8Array(8), "none"), 0, 8]);
    p.place(wait);
  }
  const flags = options.foreground ? MSG_DONTWAIT : 0;
  const said = p.result("agent: until the call is over", "message", "recvfrom", [FRONT_FD, message, 16, flags, 0, 0], {
    ignore: ["EAGAIN", "ECONNRESET"],
  });
  p.branch("agent: nothing yet", said, "equal", EAGAIN, wait);
  p.branch("agent: it is over", said, "equal", STATUS, ended);
  p.branch("agent: it has failed", said, "equal", FAILED, failed);
  p.exit("agent: the resident is gone", new Data(new Uint8Array([0, 1, 0, 0]), "status 1"));
  p.place(failed);
  p.place(next);
  const reaped = p.result("agent: what has failed", "reaped", "wait4", [-1, 0, 0, 0], { ignore: ["ECHILD"] });
  p.branch("agent: nothing is left", reaped, "at most", 0, ended);
  p.branch("agent: and the next", reaped, "at most", 0x7fff_ffff, next);
  p.place(ended);
  p.call("agent: the launch's parent has ended", "wait4", [pid, 0, 0, 0], { ignore: ["ECHILD"] });
  p.exit("agent", message);

  p.place(child);
  becomeLaunch(p, options, byDefault, all);
  return p;
}

/** As {@link file://../../linux/process.ts} has posix_spawn do it. */
function becomeLaunch(p: Program, options: AgentOptions, byDefault: Data, all: Data): void {
  p.call("launch: a session of its own", "setsid", []);
  p.call("launch: signals are blocked", "rt_sigprocmask", [SIG_SETMASK, all, 0, 8]);
  for (const signal of options.ignored) {
    p.call("launch: no signal is ignored", "rt_sigaction", [signal, byDefault, 0, 8]);
  }
  p.call("launch: nothing of the caller's but stdio", "close_range", [3, 0xffff_ffff, 4]);
  const why = "launch: descriptors of the resident's";
  const opened = p.result(why, "resident", "pidfd_open", [options.resident, 0]);
  p.call(why, "dup3", [opened, PIDFD, k.O_CLOEXEC]);
  for (const [ours, theirs] of options.fds) {
    const got = p.temporary(`fd ${theirs}`);
    p.call(why, "pidfd_getfd", [PIDFD, ours, 0], { into: got });
    // EINVAL: it has that very number.
    p.call(why, "dup3", [got, theirs, 0], { ignore: ["EINVAL"] });
    p.call(why, "fcntl", [theirs, k.F_SETFD, 0]);
  }
  const executable = p.result(why, "executable", "pidfd_getfd", [PIDFD, options.executable, 0]);
  p.call("launch: has them", "sendto", [FRONT_FD, p.room(1, "byte"), HAS_DESCRIPTORS, MSG_NOSIGNAL, 0, 0]);
  const argv = p.strings(["inro-runtime", "init"], "inro-runtime init");
  p.call("launch", "execveat", [executable, p.text(""), argv, p.strings([], "nothing"), k.AT_EMPTY_PATH]);
}
