import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { conflict, InroError, messageOf, unavailable } from "../base/errors.ts";
import { Cgroup } from "../cgroups/cgroup.ts";
import { LaunchError, launch } from "../runtime/launch.ts";
import type { Running } from "../runtime/running.ts";
import type { NamespaceType } from "../spec/oci-runtime.ts";
import { nowText, ZERO_TIME } from "./clock.ts";
import { namespaceModes } from "./config/modes.ts";
import { toSpec } from "./config/to-spec.ts";
import type { Container } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { watchExit } from "./exit.ts";
import { writeManagedFiles } from "./managed-files.ts";
import { mountSources } from "./mount-sources.ts";
import { cgroupPath } from "./paths.ts";
import { lookupIn, prepareRootfs } from "./rootfs.ts";
import type { Volumes } from "./volumes.ts";

/** In the run directory: the spec, for execs after a restart of the engine. */
export const SPEC_FILE = "config.json";

/**
 * Starts a container that does not run; the caller holds its mutex. A failure leaves nothing behind but State.Error and
 * ExitCode (126, 127, 128), and is thrown.
 */
export async function startContainer(ctx: Context, volumes: Volumes, container: Container): Promise<void> {
  if (container.removed || container.state.status === "removing") {
    throw conflict(`cannot start container ${container.id}: it is marked for removal`);
  }
  if (container.state.status === "paused") {
    throw conflict("cannot start a paused container, try unpause instead");
  }
  if (container.isRunning) throw new InroError("notModified", `container ${container.id} is already running`);
  // The last run may still be on its way out, and take the container with it.
  await container.finished;
  if (container.removed) throw conflict(`cannot start container ${container.id}: it is marked for removal`);
  const before = container.state;
  container.state = { ...before, status: "starting", bootId: ctx.bootId, error: "", exitCode: 0, oomKilled: false };
  // After a power failure nothing of the start is left to undo: this row need not outlive the machine.
  ctx.store.updateState(container.id, container.state, false);
  let running: Running;
  try {
    running = await launchContainer(ctx, volumes, container);
  } catch (error) {
    const status = before.startedAt === ZERO_TIME ? "created" : "exited";
    const exitCode = error instanceof LaunchError ? error.exitCode : 128;
    container.state = { ...before, status, pid: 0, exitCode, error: messageOf(error) };
    ctx.store.updateState(container.id, container.state, container.durable);
    container.stdio.endClients();
    container.wake(container.exitWaiters);
    throw error instanceof InroError ? error : unavailable(messageOf(error), error);
  }
  container.running = running;
  container.stopping = false;
  container.state = {
    ...container.state,
    status: "running",
    pid: running.pid,
    startedAt: nowText(),
    finishedAt: ZERO_TIME,
  };
  container.stdio.connect(running);
  ctx.store.updateState(container.id, container.state, container.durable);
  emit(ctx, container, "start");
  watchExit(ctx, volumes, container, running);
}

async function launchContainer(ctx: Context, volumes: Volumes, container: Container): Promise<Running> {
  const { id, config, host, userns } = container.record;
  const undo: (() => unknown)[] = [];
  const sources = mountSources(volumes, container);
  try {
    const rootfs = prepareRootfs(ctx, container);
    if (rootfs.kind !== "overlay") throw unavailable("an image has a layer");
    const files = writeManagedFiles(ctx, container);
    const spec = toSpec({
      id,
      config,
      host,
      rootfs: { lookup: lookupIn([rootfs.upper, ...rootfs.lower]) },
      files,
      volumes: sources.mounts,
      ...(userns ? { userns } : {}),
      namespaceOf: (ref, type) => namespacePath(ctx, ref, type),
    });
    const runDir = ctx.paths.runDir(id);
    // Whatever an earlier run left (a crash between its end and its clean-up) is out of date.
    rmSync(runDir, { recursive: true, force: true });
    mkdirSync(runDir, { mode: 0o700 });
    undo.push(() => rmSync(runDir, { recursive: true, force: true }));
    writeFileSync(join(runDir, SPEC_FILE), JSON.stringify(spec), { mode: 0o600 });
    const cgroup = Cgroup.create(ctx.hierarchy, cgroupPath(id, host.CgroupParent), spec.linux?.resources ?? {}, {
      warn: (message) => ctx.log(`container ${id.slice(0, 12)}: ${message}`),
    });
    undo.push(() => cgroup.remove());
    const stdin = config.OpenStdin === true;
    const running = await launch({
      id,
      spec,
      rootfs,
      cgroup,
      runDir,
      stdin,
      // Stdin that ends with its first client must not be held open by anyone else.
      keepStdin: stdin && config.StdinOnce !== true,
      // An init reaps what pid 1 of a namespace has to; in another's it is not pid 1.
      init: host.Init === true && namespaceModes(host, ctx.hierarchy.mode).pid.kind === "private",
    });
    container.spec = spec;
    return running;
  } catch (error) {
    for (const step of undo.reverse()) {
      try {
        await step();
      } catch (left) {
        ctx.log(`container ${id.slice(0, 12)}: undoing a failed start: ${messageOf(left)}`);
      }
    }
    throw error;
  } finally {
    sources.close();
  }
}

const NAMESPACE_FILES: Record<NamespaceType, string> = {
  pid: "pid",
  network: "net",
  mount: "mnt",
  ipc: "ipc",
  uts: "uts",
  user: "user",
  cgroup: "cgroup",
  time: "time",
};

/** Path of a namespace of another container, which must run. */
function namespacePath(ctx: Context, ref: string, type: NamespaceType): string {
  const other = ctx.table.get(ref);
  if (!other.isRunning) throw conflict(`cannot join ${type} namespace of a non running container: ${other.id}`);
  return `/proc/${other.state.pid}/ns/${NAMESPACE_FILES[type]}`;
}
