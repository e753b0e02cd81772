import { kill } from "node:process";
import { codeOf, conflict, invalid } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { raise } from "../../linux/process.ts";
import { CAP, hasCapability, inUserNamespace } from "../../linux/rights.ts";
import { lastCapability } from "../../security/capabilities.ts";
import { execProgram } from "../exec.ts";
import { hasOtherMounts } from "../namespaces.ts";
import { mayTrace } from "../unseen.ts";
import { begin, settleFailed } from "./behalf.ts";
import { isPaused, openCgroup } from "./cgroup.ts";
import type { Globals } from "./commands.ts";
import { homeOf, writePidFile } from "./create.ts";
import { openProcess } from "./delete.ts";
import { execCgroup } from "./exec-cgroup.ts";
import { execProcessOf } from "./exec-process.ts";
import { processFilter } from "./filter.ts";
import { withGrantable } from "./grantable.ts";
import { OCI_FD, ociLauncher } from "./launcher.ts";
import type { Parsed } from "./options.ts";
import { type Launched, ownStdio, RowFailure, spawnProgram } from "./spawn.ts";
import { isAlive, ociState, StateDirectory } from "./state.ts";

/** Another process in a container. The exit status is the process's own, or 0 with `--detach`. */
export async function execContainer(globals: Globals, parsed: Parsed, preserve: number): Promise<number> {
  const { texts, bools } = parsed;
  const directory = new StateDirectory(globals.root, parsed.rest[0]!);
  const state = directory.read();
  const status = directory.status(state);
  if (status !== "running" && status !== "created") throw conflict(`cannot exec in a ${status} container`);
  const cgroup = openCgroup(state.cgroup);
  if (isPaused(cgroup) && !bools.has("ignore-paused")) throw conflict("cannot exec in a paused container");
  const spec = directory.readConfig();
  const process_ = withGrantable(execProcessOf(parsed, spec.process!), spec, globals.warn);
  if (process_.terminal && bools.has("detach") && !texts.has("console-socket")) {
    throw invalid("--detach with a terminal needs --console-socket");
  }
  if (texts.has("console-socket") && !process_.terminal) throw invalid("--console-socket: the process has no terminal");
  if (!process_.env?.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")) {
    const env = (process_.env ?? []).filter((entry) => entry !== "HOME=");
    process_.env = [...env, `HOME=${homeInside(process_.user.uid, state.pid)}`];
  }
  const wait = !bools.has("detach");
  const ownTerminal = process_.terminal && !texts.has("console-socket");
  begin(!ownTerminal && preserve === 0 && !spec.linux?.seccomp?.listenerPath);
  const withProcess = { ...spec, process: process_ };
  const { filter, onListener } = await processFilter(withProcess, globals.root, () => ociState(state, "running"));
  // Opened before its start time is looked at once more, so that it stays the container's, whoever has its number later.
  const pidfd = openProcess(state);
  if (pidfd === undefined) throw conflict("cannot exec in a stopped container");
  const target = raise(pidfd);
  const joins = execCgroup(cgroup, state, parsed.lists.get("cgroup") ?? []);
  const nested = inUserNamespace();
  const rootless = nested || process.geteuid?.() !== 0;
  const program = execProgram({
    pid: state.pid,
    pidfd: OCI_FD.target,
    process: process_,
    ...(spec.linux && { execution: spec.linux }),
    filter,
    lastCapability: lastCapability(),
    cgroup: rootless ? (await import("./rootless-cgroup.ts")).joinable(joins, globals.warn) : joins,
    ownStdio: process_.terminal ? [] : ownStdio(),
    nested,
    traceable: onListener !== undefined && !hasCapability(CAP.sysAdmin),
    traced: mayTrace(spec),
    otherMounts: hasOtherMounts(spec),
    launcher: ociLauncher(
      { wait, fifo: false, hooks: false, listener: onListener !== undefined, preserve, keyring: state.keyring },
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
      pidfdSocket: texts.get("pidfd-socket"),
      extra: [[target, OCI_FD.target]],
      ...(wait && { meanwhile: async () => (await import("./attend.ts")).holdSignals() }),
      onPid() {},
      ...(onListener && { onListener }),
    });
  } catch (error) {
    if (!(error instanceof RowFailure)) throw error;
    if (!isAlive(state))
      throw conflict("cannot exec in a stopped container: its first process has ended meanwhile", error);
    const { programError } = await import("./failure.ts");
    throw programError(program, error, process_.args![0]!);
  } finally {
    close(target);
  }
  const pidFile = texts.get("pid-file");
  try {
    if (pidFile !== undefined) writePidFile(pidFile, launched.pid);
  } catch (error) {
    // Whoever asked for its number would not know of it.
    kill(launched.pid, "SIGKILL");
    settleFailed(launched.pid);
    throw error;
  }
  if (!wait) return 0;
  const { attend } = await import("./attend.ts");
  return await attend(launched.pid, launched.exit!, launched.master);
}

function homeInside(uid: number, pid: number): string {
  try {
    return homeOf(uid, `/proc/${pid}/root`);
  } catch (error) {
    // The root itself: what is missing in it is no error.
    if (codeOf(error) === "ENOENT") throw conflict("cannot exec in a stopped container");
    throw error;
  }
}
