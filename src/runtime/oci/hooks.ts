import { errnoName, invalid, messageOf } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { close } from "../../linux/file.ts";
import { memoryFile, pipe, raise } from "../../linux/process.ts";
import type { Program } from "../../program/ir.ts";
import type { Hook } from "../../spec/oci-runtime.ts";
import { Builder } from "../builder.ts";
import { launchError } from "../diagnose.ts";
import { differingNamespaces, type ExecPlan, execProgram } from "../exec.ts";
import { beKeeper, unblockSignals } from "../keeper.ts";
import type { Launcher } from "../plan.ts";
import { waitStatus } from "./attend.ts";
import { ociLauncher } from "./launcher.ts";
import { RowFailure, type SpawnRequest, spawnProgram } from "./spawn.ts";
import { ociState, ownPid, type State, type Status } from "./state.ts";

/** Hooks whose path is the host's, and that run in the runtime's namespaces. */
export type RuntimeHook = "prestart" | "createRuntime" | "poststart";

/**
 * Runs hooks in the runtime's own namespaces, one after the other (config.md, "POSIX-platform Hooks"). The first that
 * fails, or takes longer than its timeout, is an invalid-argument error with what it printed.
 */
export async function runHooks(kind: RuntimeHook, hooks: readonly Hook[] = [], state: State, status: Status) {
  const stdin = JSON.stringify(ociState(state, status));
  for (const [i, hook] of hooks.entries()) {
    await run(nameOf(kind, i, hook), hook, hostProgram(hook, state, undefined), stdin);
  }
}

/** As {@link runHooks}, but one that fails is only warned of: the container is gone (runtime.md, "Lifecycle" 13). */
export async function runPoststop(hooks: readonly Hook[], state: State, warn: (message: string) => void) {
  const stdin = JSON.stringify(ociState(state, "stopped", 0));
  for (const [i, hook] of hooks.entries()) {
    try {
      await run(nameOf("poststop", i, hook), hook, hostProgram(hook, state, undefined), stdin);
    } catch (error) {
      warn(messageOf(error));
    }
  }
}

/**
 * `createContainer`: a program of the host, in the namespaces of the container's process, which is still on the host's
 * tree. It knows the process by the number that it has there.
 */
export async function runCreateContainer(hooks: readonly Hook[] = [], state: State): Promise<void> {
  const stdin = JSON.stringify(ociState(state, "creating", ownPid(state.pid)));
  for (const [i, hook] of hooks.entries()) {
    await run(nameOf("createContainer", i, hook), hook, hostProgram(hook, state, state.pid), stdin);
  }
}

/**
 * `startContainer`: a program of the container's, which has no more rights than the container's process: it is another
 * process in its place, cgroup and seccomp filter included.
 */
export async function runStartContainer(
  hooks: readonly Hook[] = [],
  state: State,
  plan: Omit<ExecPlan, "launcher" | "path">,
  onListener?: SpawnRequest["onListener"],
): Promise<void> {
  const stdin = JSON.stringify(ociState(state, "created", ownPid(state.pid)));
  for (const [i, hook] of hooks.entries()) {
    // An empty environment is the container's, as with runc.
    const env = hook.env?.length ? hook.env : (plan.process.env ?? []);
    const process = { ...plan.process, terminal: false, args: argsOf(hook), env };
    const launcher = endsWithUs(onListener !== undefined);
    const program = execProgram({ ...plan, process, path: hook.path, launcher });
    await run(nameOf("startContainer", i, hook), hook, program, stdin, onListener);
  }
}

const nameOf = (kind: string, i: number, hook: Hook) => `hooks.${kind}[${i}] ${hook.path}`;
const argsOf = (hook: Hook) => (hook.args?.length ? hook.args : [hook.path]);

/** A launch whose parent waits, and whose processes end with the runtime. */
function endsWithUs(listener: boolean): Launcher {
  const shape = { wait: true, fifo: false, hooks: false, listener, preserve: 0, keyring: undefined };
  const launcher = ociLauncher(shape, { user: { uid: 0, gid: 0 }, cwd: "/" });
  return {
    ...launcher,
    clone(p, options) {
      p.call("hook: ends with the runtime", "prctl", [k.PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
      launcher.clone(p, options);
    },
    pdeathsig: SIGKILL,
  };
}

const SIGKILL = 9;

/** A program of the host, as root; with `pid` in the namespaces of that process. */
function hostProgram(hook: Hook, state: State, pid: number | undefined): Builder {
  const p = new Builder();
  beKeeper(p);
  if (pid !== undefined) {
    const why = "hook: the container's namespaces";
    const pidfd = p.result(why, "pidfd", "pidfd_open", [pid, 0]);
    const flags = differingNamespaces(pid);
    if (flags) p.call(why, "setns", [pidfd, flags]);
  }
  const launcher = endsWithUs(false);
  const child = p.label("hook");
  launcher.clone(p, { flags: 0, cgroup: undefined, child, terminal: false });
  p.place(child);
  p.call("hook: a session of its own", "setsid", []);
  p.call("hook: ends with the runtime", "prctl", [k.PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
  p.call("hook: the bundle", "chdir", [p.text(state.bundle)], { ignore: "all" });
  unblockSignals(p);
  launcher.closeAll(p);
  // Without any environment of its own it has ours, as with runc and crun.
  const env = hook.env ?? Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const args = argsOf(hook);
  p.call("hook", "execve", [p.text(hook.path), p.strings(args, args.join(" ")), p.strings(env, "environment")]);
  return p;
}

/** What of its output an error shows: the end. */
const SHOWN = 2000;
const INTERRUPTS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs one hook to its end. A signal to the runtime ends the hook, and is an error. */
async function run(
  name: string,
  hook: Hook,
  program: Program,
  stdin: string,
  onListener?: SpawnRequest["onListener"],
): Promise<void> {
  // A file: what a hook leaves unread, or never reads, keeps nobody waiting.
  const input = raise(memoryFile("state", Buffer.from(stdin)));
  const [output, outputFar] = pipe();
  const far = raise(outputFar);
  let text = "";
  let end = "";
  let pid = 0;
  let exit: number;
  const kill = () => {
    try {
      // The group: it leads one, and its children belong to it.
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  };
  const stop = (why: string) => {
    end ||= why;
    kill();
  };
  const interrupted = (signal: string) => stop(`interrupted by ${signal}`);
  for (const signal of INTERRUPTS) process.on(signal, interrupted);
  try {
    try {
      const launched = await spawnProgram({
        program,
        wait: true,
        preserve: 0,
        terminal: false,
        consoleSocket: undefined,
        extra: [
          [input, 0],
          [far, 1],
          [far, 2],
        ],
        onPid() {},
        ...(onListener && { onListener }),
      });
      pid = launched.pid;
      exit = launched.exit!;
    } finally {
      close(input);
      close(far);
    }
    const read = collect(output, (chunk) => {
      text = (text + chunk).slice(-SHOWN);
    });
    const timer = hook.timeout ? setTimeout(stop, hook.timeout * 1000, `not done after ${hook.timeout} s`) : undefined;
    const status = await waitStatus(exit);
    clearTimeout(timer);
    close(exit);
    // What it leaves running may hold the output: no end to wait for.
    await Promise.race([read.done, Bun.sleep(DRAIN_MS)]);
    await read.cancel();
    if (!end && status === 0) return;
    end ||= status & 0x7f ? `ended by signal ${status & 0x7f}` : `exit status ${status >> 8}`;
  } catch (error) {
    if (!(error instanceof RowFailure)) throw error;
    const row = program.rows[error.row];
    const started = row?.kind === "call" && row.call === "execve";
    end = started ? `execve: ${errnoName(error.errno)}` : launchError(program, error).message;
  } finally {
    for (const signal of INTERRUPTS) process.off(signal, interrupted);
    close(output);
  }
  throw invalid(`${name}: ${end}${text.trim() ? `: ${text.trim()}` : ""}`);
}

const DRAIN_MS = 100;

/** Takes all that comes out of a pipe, so that its writer never waits. */
function collect(fd: number, take: (chunk: string) => void): { done: Promise<void>; cancel(): Promise<void> } {
  const reader = Bun.file(fd).stream().getReader();
  const done = (async () => {
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        take(Buffer.from(value).toString());
      }
    } catch (error) {
      take(messageOf(error));
    }
  })();
  return { done, cancel: () => reader.cancel().catch(() => {}) };
}
