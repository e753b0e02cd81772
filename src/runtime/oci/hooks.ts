import { invalid } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { close } from "../../linux/file.ts";
import { sealedExecutable } from "../../linux/process.ts";
import { inUserNamespace } from "../../linux/rights.ts";
import { encode } from "../../program/elf.ts";
import { MACHINE } from "../../program/machine.ts";
import type { Hook, Process } from "../../spec/oci-runtime.ts";
import { Builder, FD } from "../builder.ts";
import { differingNamespaces, refusesSetgroups } from "../exec.ts";
import { becomeUser } from "../identity.ts";
import { CLONE_ARGS_SIZE, cloneArgs } from "../namespaces.ts";
import type { Plan } from "../setup.ts";
import type { State } from "./state.ts";

/** Runs hooks in the runtime's own namespaces, one after the other; the first that fails is an error. */
export function runHooks(kind: string, hooks: readonly Hook[] | undefined, bundle: string, stdin: string): void {
  for (const [i, hook] of (hooks ?? []).entries()) {
    run(`hooks.${kind}[${i}] ${hook.path}`, hook, [hook.path], hook.env ?? [], bundle, stdin, undefined);
  }
}

/**
 * Runs hooks in the namespaces of the container's process. With `as`, the path is one inside the container, so the hook
 * gets no more rights than the container's process has; without, the host's tree is still there, and the hook is ours.
 */
export function runHooksInside(
  kind: string,
  hooks: readonly Hook[] | undefined,
  state: State,
  stdin: string,
  as: { process: Process; filter: Plan["filter"]; lastCapability: number } | undefined,
): void {
  for (const [i, hook] of (hooks ?? []).entries()) {
    // An empty environment is the container's in startContainer, as with runc.
    const env = hook.env?.length ? hook.env : (as?.process.env ?? []);
    const program = insideProgram(hook, env, state, as);
    const fd = sealedExecutable("inro-hook", encode(program, MACHINE));
    try {
      const path = `/proc/${process.pid}/fd/${fd}`;
      run(`hooks.${kind}[${i}] ${hook.path}`, hook, [path], [], state.bundle, stdin, program);
    } finally {
      close(fd);
    }
  }
}

function insideProgram(
  hook: Hook,
  env: readonly string[],
  state: State,
  as: { process: Process; filter: Plan["filter"]; lastCapability: number } | undefined,
): Builder {
  const p = new Builder();
  const why = "hook: the container's namespaces";
  p.call("hook", "prctl", [k.PR_SET_NAME, p.text("inro-hook"), 0, 0, 0]);
  const pidfd = p.result(why, "pidfd", "pidfd_open", [state.pid, 0]);
  const flags = differingNamespaces(state.pid);
  if (flags) p.call(why, "setns", [pidfd, flags]);
  const child = p.label("hook");
  const pid = p.result("hook", "pid", "clone3", [p.bytes(cloneArgs(0, false), "clone_args"), CLONE_ARGS_SIZE], {
    child,
  });
  const status = p.room(8, "wait status");
  p.call("hook", "close", [FD.report]);
  p.call("hook", "wait4", [pid, status, 0, 0]);
  p.exit("hook", status);
  p.place(child);
  p.call("hook: ends with its timeout", "prctl", [k.PR_SET_PDEATHSIG, 9, 0, 0, 0]);
  if (as) {
    if (flags & k.CLONE_NEWUSER) {
      p.call("root of the user namespace", "setresgid", [0, 0, 0]);
      p.call("root of the user namespace", "setresuid", [0, 0, 0]);
    }
    const noSetgroups = (inUserNamespace() || Boolean(flags & k.CLONE_NEWUSER)) && refusesSetgroups(state.pid);
    const options = { lastCapability: as.lastCapability, pdeathsig: 9, noSetgroups };
    becomeUser(p, as.process, as.filter, options);
  } else p.call("hook", "chdir", [p.text(state.bundle)], { ignore: "all" });
  p.call("hook", "fcntl", [FD.report, k.F_SETFD, 1]);
  const args = hook.args?.length ? hook.args : [hook.path];
  p.call("hook", "execve", [p.text(hook.path), p.strings(args, args.join(" ")), p.strings(env, "environment")]);
  return p;
}

function run(
  name: string,
  hook: Hook,
  cmd: string[],
  env: readonly string[],
  cwd: string,
  stdin: string,
  program: Builder | undefined,
): void {
  const args = program ? [] : (hook.args ?? []).slice(1);
  const argv0 = program ? "inro-hook" : (hook.args?.[0] ?? hook.path);
  let result: Bun.SyncSubprocess<"pipe", "pipe">;
  try {
    result = Bun.spawnSync({
      cmd: [...cmd, ...args],
      argv0,
      env: Object.fromEntries(env.map((entry) => [entry.split("=", 1)[0]!, entry.slice(entry.indexOf("=") + 1)])),
      cwd,
      stdio: [Buffer.from(stdin), "pipe", "pipe", ...(program ? (["pipe"] as const) : [])] as never,
      ...(hook.timeout && { timeout: hook.timeout * 1000, killSignal: "SIGKILL" }),
    }) as never;
  } catch (error) {
    throw invalid(`${name}: ${error instanceof Error ? error.message : error}`);
  }
  if (result.exitedDueToTimeout) throw invalid(`${name}: not done after ${hook.timeout} s`);
  if (result.exitCode === 0) return;
  const how = result.signalCode ? `ended by ${result.signalCode}` : `exit status ${result.exitCode}`;
  const output = [result.stdout, result.stderr].map((out) => out?.toString().trim() ?? "").filter(Boolean);
  throw invalid(`${name}: ${how}${output.length ? `: ${output.join("; ").slice(0, 4000)}` : ""}`);
}
