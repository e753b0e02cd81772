import { existsSync, unlinkSync } from "node:fs";
import { codeOf, conflict, errnoName, invalid } from "../../base/errors.ts";
import { trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, read, statat, writeAll } from "../../linux/file.ts";
import { setNonblock } from "../../linux/process.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { hasOtherMounts } from "../namespaces.ts";
import { EXEC_FIFO, ociState, REPORT_FIFO, type State, type StateDirectory } from "./state.ts";

/** flock(2). */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Lets a created container run. Returns when its command has been executed and its poststart hooks have run. When a hook
 * fails, `undo` is called, which is to remove the container (runtime.md, "Lifecycle" 7 and 9), before the error.
 */
export async function startContainer(
  directory: StateDirectory,
  state: State,
  spec: Spec,
  undo: () => Promise<void>,
): Promise<void> {
  const status = directory.status(state);
  if (status === "stopped") throw conflict("cannot start a container that has stopped");
  if (status === "running") throw conflict("cannot start an already running container");
  if (status !== "created") throw conflict(`cannot start a container in the ${status} state`);
  let fifo: number;
  try {
    fifo = openat(k.AT_FDCWD, directory.file(EXEC_FIFO), k.O_WRONLY | k.O_NONBLOCK);
  } catch (error) {
    // ENXIO: nobody reads there any more.
    if (codeOf(error) === "ENXIO") throw conflict("cannot start a container that has stopped");
    if (codeOf(error) === "ENOENT") throw conflict("cannot start an already running container");
    throw error;
  }
  let report: number | undefined;
  try {
    // Another file would take the bytes, and nobody answer.
    if ((statat(fifo, "").mode & k.S_IFMT) !== k.S_IFIFO) throw invalid(`${directory.file(EXEC_FIFO)} is no FIFO`);
    // One start at a time, or two would run the hooks; the lock goes with whoever holds it.
    if (trySys("flock", fifo, LOCK_EX | LOCK_NB) < 0) throw conflict("cannot start a container that is being started");
    if (!existsSync(directory.file(EXEC_FIFO))) throw conflict("cannot start an already running container");
    if (spec.hooks?.startContainer?.length) await orUndo(startHooks(directory, state, spec), undo);
    report = openat(k.AT_FDCWD, directory.file(REPORT_FIFO), k.O_RDONLY | k.O_NONBLOCK);
    setNonblock(report, false);
    unlinkSync(directory.file(EXEC_FIFO));
    writeAll(fifo, Buffer.alloc(state.go));
    const record = Buffer.alloc(8);
    const failed = read(report, record) === 8;
    unlinkSync(directory.file(REPORT_FIFO));
    if (failed) {
      const code = errnoName(record.readUInt32LE(4));
      const { commandError } = await import("./failure.ts");
      throw commandError(state.command, code) ?? invalid(`exec: ${JSON.stringify(state.command)}: ${code}`);
    }
  } finally {
    close(fifo);
    if (report !== undefined) close(report);
  }
  await poststart(state, spec, undo);
}

export async function poststart(state: State, spec: Spec, undo: () => Promise<void>): Promise<void> {
  if (!spec.hooks?.poststart?.length) return;
  const { runHooks } = await import("./hooks.ts");
  await orUndo(runHooks("poststart", spec.hooks.poststart, state, "running"), undo);
}

async function orUndo(hooks: Promise<void>, undo: () => Promise<void>): Promise<void> {
  try {
    await hooks;
  } catch (error) {
    await undo();
    throw error;
  }
}

async function startHooks(directory: StateDirectory, state: State, spec: Spec): Promise<void> {
  const { runStartContainer } = await import("./hooks.ts");
  const { processFilter } = await import("./filter.ts");
  const { lastCapability } = await import("../../security/capabilities.ts");
  const { openCgroup } = await import("./cgroup.ts");
  const { CAP, hasCapability, inUserNamespace } = await import("../../linux/rights.ts");
  const { filter, onListener } = await processFilter(spec, directory.root, () => ociState(state, "created"));
  const cgroup = openCgroup(state.cgroup);
  await runStartContainer(
    spec.hooks?.startContainer,
    state,
    {
      pid: state.pid,
      process: spec.process!,
      ...(spec.linux && { execution: spec.linux }),
      filter,
      lastCapability: lastCapability(),
      cgroup: { unified: cgroup?.unifiedDir, joinFiles: cgroup?.joinFiles ?? [] },
      ownStdio: [],
      nested: inUserNamespace(),
      traceable: onListener !== undefined && !hasCapability(CAP.sysAdmin),
      otherMounts: hasOtherMounts(spec),
    },
    onListener,
  );
}
