import { readFileSync } from "node:fs";
import { conflict, invalid, messageOf, notImplemented } from "../../base/errors.ts";
import { inUserNamespace } from "../../linux/rights.ts";
import { lastCapability } from "../../security/capabilities.ts";
import type { Process } from "../../spec/oci-runtime.ts";
import { execProgram } from "../exec.ts";
import { isPaused, openCgroup } from "./cgroup.ts";
import type { Globals } from "./commands.ts";
import { readProcess } from "./config.ts";
import { homeOf, seccompFilter, writePidFile } from "./create.ts";
import { withGrantable } from "./grantable.ts";
import { ociLauncher } from "./launcher.ts";
import type { Parsed } from "./options.ts";
import { type Launched, ownStdio, RowFailure, spawnProgram } from "./spawn.ts";
import { ociState, StateDirectory } from "./state.ts";

/** Another process in a container. The exit status is the process's own, or 0 with `--detach`. */
export async function execContainer(globals: Globals, parsed: Parsed, preserve: number): Promise<number> {
  const { texts, bools } = parsed;
  for (const name of ["pidfd-socket", "process-label", "apparmor"]) {
    if (texts.has(name)) throw notImplemented(`--${name}: not supported`);
  }
  if (parsed.lists.has("cgroup")) throw notImplemented("--cgroup: not supported");
  const directory = new StateDirectory(globals.root, parsed.rest[0]!);
  const state = directory.read();
  const status = directory.status(state);
  if (status !== "running" && status !== "created") throw conflict(`cannot exec in a ${status} container`);
  const cgroup = openCgroup(state.cgroup);
  if (isPaused(cgroup) && !bools.has("ignore-paused")) throw conflict("cannot exec in a paused container");
  const spec = directory.readConfig();
  const process_ = withGrantable(processOf(parsed, spec.process!), spec, globals.warn);
  if (process_.terminal && bools.has("detach") && !texts.has("console-socket")) {
    throw invalid("--detach with a terminal needs --console-socket");
  }
  if (texts.has("console-socket") && !process_.terminal) throw invalid("--console-socket: the process has no terminal");
  if (!process_.env?.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")) {
    const env = (process_.env ?? []).filter((entry) => entry !== "HOME=");
    process_.env = [...env, `HOME=${homeOf(process_.user.uid, `/proc/${state.pid}/root`)}`];
  }
  const wait = !bools.has("detach");
  const filter = await seccompFilter({ ...spec, process: process_ }, globals.root);
  const listener = filter?.listener ? await import("./listener.ts") : undefined;
  const target = listener?.listenerTarget(spec.linux!.seccomp!);
  const program = execProgram({
    pid: state.pid,
    process: process_,
    ...(spec.linux && { execution: spec.linux }),
    filter,
    lastCapability: lastCapability(),
    cgroup: { unified: cgroup?.unifiedDir, joinFiles: cgroup?.joinFiles ?? [] },
    ownStdio: process_.terminal ? [] : ownStdio(),
    nested: inUserNamespace(),
    launcher: ociLauncher(
      { wait, fifo: false, hooks: false, listener: listener !== undefined, preserve, keyring: undefined },
      process_,
    ),
  });
  let launched: Launched;
  try {
    launched = await spawnProgram({
      program,
      wait,
      preserve,
      terminal: process_.terminal === true,
      consoleSocket: texts.get("console-socket"),
      extra: [],
      ...(wait && { meanwhile: () => import("./attend.ts") }),
      onPid() {},
      ...(listener && {
        onListener: (pid, fd) => listener.handOver(target!, pid, fd, ociState(state, "running")),
      }),
    });
  } catch (error) {
    if (!(error instanceof RowFailure)) throw error;
    const { programError } = await import("./failure.ts");
    throw programError(program, error, process_.args![0]!);
  }
  const pidFile = texts.get("pid-file");
  if (pidFile !== undefined) writePidFile(pidFile, launched.pid);
  if (!wait) return 0;
  const { attend } = await import("./attend.ts");
  return await attend(launched.pid, launched.exit!, launched.master);
}

/** `--process FILE`, or the container's own process with what the flags change. */
function processOf(parsed: Parsed, own: Process): Process {
  const { texts, lists, bools, rest } = parsed;
  const file = texts.get("process");
  if (file !== undefined) {
    let value: unknown;
    try {
      value = JSON.parse(readFileSync(file, "utf8"));
    } catch (error) {
      throw invalid(`--process ${file}: ${messageOf(error)}`);
    }
    const process = readProcess(value);
    // `--tty` on top of a file, as containerd's shim gives it.
    return bools.has("tty") ? { ...process, terminal: true } : process;
  }
  const args = rest.slice(1);
  if (args.length === 0) throw invalid("process args cannot be empty");
  const user = { ...own.user };
  const wanted = texts.get("user");
  if (wanted !== undefined) {
    const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(wanted);
    if (!match) throw invalid(`--user ${wanted}: must be UID[:GID], in numbers`);
    user.uid = Number(match[1]);
    if (match[2] !== undefined) user.gid = Number(match[2]);
  }
  const groups = lists.get("additional-gids")?.map((text) => {
    if (!/^\d{1,10}$/.test(text)) throw invalid(`--additional-gids ${text}: must be a number`);
    return Number(text);
  });
  if (groups) user.additionalGids = [...(user.additionalGids ?? []), ...groups];
  const { consoleSize: _, ...rest_ } = own;
  const process: Process = {
    ...rest_,
    args,
    user,
    terminal: bools.has("tty"),
    cwd: texts.get("cwd") ?? own.cwd,
    env: [...(own.env ?? []), ...(lists.get("env") ?? [])],
    noNewPrivileges: bools.has("no-new-privs") || own.noNewPrivileges === true,
  };
  const caps = lists.get("cap");
  if (caps) {
    const with_ = (names: readonly string[] | undefined) => [...new Set([...(names ?? []), ...caps])];
    const given = own.capabilities;
    process.capabilities = {
      bounding: with_(given?.bounding),
      effective: with_(given?.effective),
      permitted: with_(given?.permitted),
      ...(given?.inheritable && { inheritable: with_(given.inheritable) }),
      ...(given?.ambient && { ambient: with_(given.ambient) }),
    };
  }
  return readProcess(process);
}
