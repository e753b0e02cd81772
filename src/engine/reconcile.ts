import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { codeOf, messageOf } from "../base/errors.ts";
import { removeTree } from "../layers/remove-tree.ts";
import * as k from "../linux/constants.ts";
import { close, openat, readdir } from "../linux/file.ts";
import { POLLIN, poll } from "../linux/poll.ts";
import { pidfdOpen, pidfdSendSignal } from "../linux/process.ts";
import { adopt, findKeepers, KEEPER_ARGV0, type Running, readStatus } from "../runtime/running.ts";
import { formatNanoseconds, ZERO_TIME } from "./clock.ts";
import type { Container } from "./container.ts";
import { type Context, openCgroup, openCgroupAt } from "./context.ts";
import { register } from "./create.ts";
import { recordExit, removesItself, watchExit } from "./exit.ts";
import { startingHealth } from "./health/record.ts";
import { cgroupPath, HEALTH_EXEC } from "./paths.ts";
import { removeContainer } from "./remove.ts";
import { Stdio } from "./stdio.ts";
import type { StateRecord } from "./store.ts";
import { settlePlaces } from "./volumes/place.ts";
import type { Volumes } from "./volumes.ts";

const LOST_EXIT_CODE = 255;
/** States in which there is no process, and no step of ours was under way. */
const AT_REST: ReadonlySet<StateRecord["status"]> = new Set(["created", "exited", "restarting"]);

/**
 * Makes records and machine agree after an engine ended, whenever it did: running containers are taken over, those that
 * ended meanwhile get their exit code, half-made starts and removals are undone or finished.
 */
export async function reconcile(ctx: Context, volumes: Volumes): Promise<void> {
  clearTemporary(ctx);
  await settlePlaces(ctx);
  const rows = ctx.store.containers();
  for (const { record, state } of rows) ctx.endpoints.adopt(register(ctx, record, state));
  const open = ctx.table.all().filter(({ state }) => !AT_REST.has(state.status));
  const left = readdirSync(ctx.paths.runDirs);
  if (open.length === 0 && left.length === 0) {
    ctx.endpoints.restore();
    return finishRemovals(ctx, volumes);
  }
  const keepers = findKeepers();
  for (const container of open) {
    try {
      await settle(ctx, volumes, container, keepers);
    } catch (error) {
      // One that cannot be settled must not keep the others from being.
      ctx.log(`container ${container.id.slice(0, 12)}: cannot be taken over: ${messageOf(error)}`);
    }
  }
  ctx.endpoints.restore();
  await cleanUp(ctx, left, keepers);
  await finishRemovals(ctx, volumes);
}

/** What is left of runs that are over in the records: the engine ended between writing that and cleaning up. */
async function cleanUp(ctx: Context, left: string[], keepers: Map<string, number>): Promise<void> {
  for (const [runDir, pid] of keepers) {
    if (!runDir.startsWith(`${ctx.paths.runDirs}/`) || isRunning(ctx, containerOf(ctx, runDir))) continue;
    endKeeper(runDir, pid);
  }
  for (const id of left) {
    if (isRunning(ctx, id)) continue;
    if (ctx.table.has(id)) await openCgroup(ctx, ctx.table.get(id))?.remove();
    // Its cgroup is as much ours as the directory is.
    else if (/^[0-9a-f]{64}$/.test(id)) await openCgroupAt(ctx, cgroupPath(id, undefined))?.remove();
    removeBelow(ctx.paths.runDirs, id);
  }
}

async function finishRemovals(ctx: Context, volumes: Volumes): Promise<void> {
  for (const container of ctx.table.all()) {
    const { record, state } = container;
    if (state.status !== "exited") continue;
    if (record.host.AutoRemove || !existsSync(ctx.paths.container(container.id))) {
      await removeContainer(ctx, volumes, container, { volumes: true });
    }
  }
}

/** How long a killed process may take; what does not end by then is in the kernel's hands. */
const DYING_MS = 1000;

/** Kills a keeper, if the pid is still that one's, and sees it end. */
export function endKeeper(runDir: string, pid: number): void {
  let fd: number;
  try {
    fd = pidfdOpen(pid);
  } catch {
    return;
  }
  try {
    // The descriptor holds the process, so what it is can be looked at without a race.
    if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`${KEEPER_ARGV0}\0${runDir}\0`)) return;
    pidfdSendSignal(fd, 9);
    poll([[fd, POLLIN]], DYING_MS);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ESRCH") throw error;
  } finally {
    close(fd);
  }
}

/** The container that a run directory is of: its own, or that of one of its execs. */
export function containerOf(ctx: Context, runDir: string): string {
  return dirname(runDir) === ctx.paths.runDirs ? basename(runDir) : basename(dirname(runDir));
}

export function isRunning(ctx: Context, id: string): boolean {
  if (!ctx.table.has(id)) return false;
  const container = ctx.table.get(id);
  return container.isRunning || container.ending || container.state.status === "starting";
}

async function settle(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  keepers: Map<string, number>,
): Promise<void> {
  const { state, id } = container;
  if (state.status === "removing") {
    return removeContainer(ctx, volumes, container, { volumes: state.removeVolumes === true });
  }
  const runDir = ctx.paths.runDir(id);
  const sameBoot = state.bootId === ctx.bootId;
  const running = sameBoot ? adopt(runDir, keepers) : undefined;
  if (running) return takeOver(ctx, volumes, container, running, keepers);

  const status = sameBoot ? readStatus(runDir) : undefined;
  if (state.status === "starting" && !status) {
    // What the engine itself was restarting waits for that once more.
    const resting = state.startedAt === ZERO_TIME ? "created" : "exited";
    const before = state.restarts?.due === undefined ? resting : "restarting";
    const { network, ...rest } = state;
    if (network) ctx.endpoints.release(container, network);
    container.state = { ...rest, status: before, pid: 0, exitCode: 128, error: "the engine ended during the start" };
    ctx.store.updateState(id, container.state);
  } else {
    if (state.status === "starting") container.state = { ...state, startedAt: startOf(runDir) };
    const error = status ? "" : sameBoot ? "the container's keeper was lost" : "the machine was restarted";
    recordExit(ctx, container, status ?? { code: LOST_EXIT_CODE, at: new Date() }, { error });
  }
  await openCgroup(ctx, container)?.remove();
  removeBelow(ctx.paths.runDirs, id);
  if (removesItself(container)) await removeContainer(ctx, volumes, container, { volumes: true });
}

function takeOver(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  running: Running,
  keepers: Map<string, number>,
): void {
  const { state, id } = container;
  const runDir = ctx.paths.runDir(id);
  container.running = running;
  // A start that came to its end without being recorded: the container runs, whoever asked for it.
  if (state.status === "starting") {
    container.state = {
      ...state,
      ...startingHealth(container.record.config, state.health),
      status: "running",
      pid: running.pid,
      startedAt: startOf(runDir),
      finishedAt: ZERO_TIME,
    };
    ctx.store.updateState(id, container.state);
  }
  if (state.commit) thawCommitted(ctx, container);
  if (container.record.mounts.length > 0) volumes.adopt(container, running);
  container.stdio.connect(running, true);
  watchExit(ctx, volumes, container, running);
  for (const [runDir, pid] of keepers) {
    if (!runDir.startsWith(ctx.paths.execDir(id, ""))) continue;
    if (runDir.startsWith(ctx.paths.execDir(id, HEALTH_EXEC))) {
      endKeeper(runDir, pid);
      removeBelow(ctx.paths.runDir(id), basename(runDir));
    } else takeOverExec(ctx, container, runDir, keepers);
  }
  ctx.health.begin(ctx, container);
}

/** The engine that paused it for a commit did not come to its end. */
function thawCommitted(ctx: Context, container: Container): void {
  const { commit: _, ...state } = container.state;
  const paused = state.status === "paused";
  container.state = paused ? { ...state, status: "running" } : state;
  ctx.store.updateState(container.id, container.state);
  if (!paused) return;
  void openCgroup(ctx, container)
    ?.thaw()
    .catch((error) => ctx.log(`container ${container.id.slice(0, 12)}: ${messageOf(error)}`));
}

/** When a container was started whose row does not say so yet: its status file came then. */
function startOf(runDir: string): string {
  return formatNanoseconds(statSync(runDir, { bigint: true }).mtimeNs);
}

/** Nobody knows an old engine's execs by id any more, but their output must not block them. */
function takeOverExec(ctx: Context, container: Container, runDir: string, keepers: Map<string, number>): void {
  const running = adopt(runDir, keepers);
  if (!running) return;
  const stdio = new Stdio({ tty: running.pty !== undefined, stdinOnce: true });
  stdio.connect(running);
  container.activeExecs++;
  running.exited
    .then(() => stdio.finish())
    .then(() => {
      running.release();
      container.activeExecs--;
      container.use();
    })
    .catch((error) => ctx.log(`an earlier engine's exec: ${messageOf(error)}`));
}

function clearTemporary(ctx: Context): void {
  const fd = openat(k.AT_FDCWD, ctx.paths.temporary, k.O_RDONLY | k.O_DIRECTORY);
  try {
    for (const { name } of [...readdir(fd)]) {
      try {
        removeTree(fd, name);
      } catch (error) {
        // A mount, say: `system check` knows about those, and an engine that does not start would be worse.
        ctx.log(`temporary ${name}: cannot be removed: ${messageOf(error)}`);
      }
    }
  } finally {
    close(fd);
  }
}

/** Removes a directory by its parent's descriptor, however deep it is. */
export function removeBelow(parent: string, name: string): void {
  const fd = openat(k.AT_FDCWD, parent, k.O_RDONLY | k.O_DIRECTORY);
  try {
    removeTree(fd, name);
  } finally {
    close(fd);
  }
}
