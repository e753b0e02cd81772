import { unlinkSync } from "node:fs";
import { codeOf, conflict, errnoName, invalid } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, read, writeAll } from "../../linux/file.ts";
import { setNonblock } from "../../linux/process.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { EXEC_FIFO, ociState, REPORT_FIFO, type State, type StateDirectory } from "./state.ts";

/** Lets a created container run. Returns when its command has been executed and its poststart hooks have run. */
export async function startContainer(directory: StateDirectory, state: State, spec: Spec): Promise<void> {
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
    throw error;
  }
  let report: number | undefined;
  try {
    if (spec.hooks?.startContainer?.length) await startHooks(directory, state, spec);
    report = openat(k.AT_FDCWD, directory.file(REPORT_FIFO), k.O_RDONLY | k.O_NONBLOCK);
    setNonblock(report, false);
    try {
      // Of two starts, the one that removes it goes on.
      unlinkSync(directory.file(EXEC_FIFO));
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw conflict("cannot start an already running container");
      throw error;
    }
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
  await poststart(state, spec);
}

/** A poststart hook that fails ends the container. */
export async function poststart(state: State, spec: Spec): Promise<void> {
  if (!spec.hooks?.poststart?.length) return;
  const { runHooks } = await import("./hooks.ts");
  try {
    runHooks("poststart", spec.hooks.poststart, state.bundle, JSON.stringify(ociState(state, "running")));
  } catch (error) {
    killProcess(state.pid);
    throw error;
  }
}

async function startHooks(directory: StateDirectory, state: State, spec: Spec): Promise<void> {
  const { runHooksInside } = await import("./hooks.ts");
  const { seccompFilter } = await import("./create.ts");
  const { lastCapability } = await import("../../security/capabilities.ts");
  // The container's own view: it is pid 1 there, if it has a pid namespace of its own.
  const own = spec.linux?.namespaces?.some((n) => n.type === "pid" && !n.path);
  try {
    runHooksInside(
      "startContainer",
      spec.hooks?.startContainer,
      state,
      JSON.stringify(ociState(state, "created", own ? 1 : state.pid)),
      {
        process: spec.process!,
        filter: await seccompFilter(spec, directory.root),
        lastCapability: lastCapability(),
      },
    );
  } catch (error) {
    killProcess(state.pid);
    throw error;
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
