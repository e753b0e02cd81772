import { conflict, InroError, messageOf } from "../base/errors.ts";
import { parseSignal } from "./config/signals.ts";
import type { Container } from "./container.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import type { StopOptions } from "./requests.ts";
import { hasRestartPolicy } from "./restart/policy.ts";
import { refuseRestarting } from "./restart/restarts.ts";

const SIGINT = 2;
const SIGQUIT = 3;
const SIGKILL = 9;
const SIGTERM = 15;
/** How long a killed process may take to die before everything in its cgroup is killed. */
const KILL_PATIENCE_MS = 2000;

/** The signal of a stop. */
function stopSignal({ record }: Container): number {
  return record.config.StopSignal ? parseSignal(record.config.StopSignal) : SIGTERM;
}

/**
 * Sends a signal; a paused container is thawed for it, and one that waits for its restart waits no more. Not running is
 * a conflict.
 */
export async function killContainer(ctx: Context, container: Container, signal: string | undefined): Promise<void> {
  const number = parseSignal(signal || "SIGKILL");
  // In docker any signal ends a restart policy, if the container has no stop signal of its own: also one that asks a
  // server to read its configuration again.
  const ends = [SIGINT, SIGQUIT, SIGKILL, SIGTERM, stopSignal(container)].includes(number);
  await started(container);
  if (ends && container.state.status === "restarting") return ctx.restarts.cancel(ctx, container, { stopped: true });
  refuseRestarting(container);
  if (!container.isRunning || !container.running) {
    throw conflict(`cannot kill container: ${container.id}: container ${container.id} is not running`);
  }
  if (ends) asked(ctx, container);
  container.running.signal(number);
  emit(ctx, container, "kill", { signal: String(number) });
  await thaw(ctx, container);
}

/**
 * Ends a running container: the stop signal, after the timeout SIGKILL. Resolves when it has ended and is cleaned up.
 * Not running is notModified. With `restart` it is `restarting` then, whether this engine lives to see it or not.
 */
export async function stopContainer(
  ctx: Context,
  container: Container,
  options: StopOptions & { restart?: boolean } = {},
): Promise<void> {
  const signal = options.signal ? parseSignal(options.signal) : undefined;
  await started(container);
  if (container.state.status === "restarting") {
    if (options.restart) ctx.restarts.hasten(ctx, container);
    else ctx.restarts.cancel(ctx, container, { stopped: true });
    return emit(ctx, container, "stop");
  }
  if (!container.isRunning) throw new InroError("notModified", `container ${container.id} is not running`);
  asked(ctx, container, options.restart);
  await endContainer(ctx, container, {
    ...(signal === undefined ? {} : { signal }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  });
  emit(ctx, container, "stop");
}

/** Goes on with restarts that clients asked an earlier engine for, and whose stop had not come to its end. */
export function finishRestarts(ctx: Context): void {
  for (const container of ctx.table.all()) {
    if (!container.state.restartAsked || !container.isRunning) continue;
    stopContainer(ctx, container, { restart: true }).catch((error) => {
      ctx.log(`container ${container.id.slice(0, 12)}: cannot be restarted: ${messageOf(error)}`);
    });
  }
}

/**
 * What a stop does to a running container, with the container's own signal and timeout where none are given: but for its
 * restart policy the end is one like any other.
 */
export async function endContainer(
  ctx: Context,
  container: Container,
  options: { signal?: number; timeout?: number } = {},
): Promise<void> {
  const { signal = stopSignal(container) } = options;
  const { timeout = container.record.config.StopTimeout ?? ctx.settings.stopTimeout } = options;
  signalQuietly(container, signal);
  emit(ctx, container, "kill", { signal: String(signal) });
  await thaw(ctx, container);
  if (!(await ends(container, timeout < 0 ? undefined : timeout * 1000))) await killAll(ctx, container);
}

/** SIGKILL, to pid 1 and then to all of the cgroup. Resolves when the container has ended and is cleaned up. */
export async function forceEnd(ctx: Context, container: Container): Promise<void> {
  asked(ctx, container);
  await killAll(ctx, container);
}

async function killAll(ctx: Context, container: Container): Promise<void> {
  signalQuietly(container, SIGKILL);
  emit(ctx, container, "kill", { signal: String(SIGKILL) });
  await thaw(ctx, container);
  if (await ends(container, KILL_PATIENCE_MS)) return;
  openCgroup(ctx, container)?.killAll();
  await container.finished;
}

/** One that is being started right now is stopped after that. */
async function started(container: Container): Promise<void> {
  if (container.state.status === "starting") await container.mutex.run(async () => undefined);
}

/** Its end will be no failure, and the next engine has to know what follows it. The last word counts. */
function asked(ctx: Context, container: Container, restart = false): void {
  const { restartAsked = false, ...state } = container.state;
  if (state.stopped && restart === restartAsked) return;
  container.state = { ...state, stopped: true, ...(restart ? { restartAsked: true } : {}) };
  const matters = restart !== restartAsked || hasRestartPolicy(container.record.host);
  if (matters) ctx.store.updateState(container.id, container.state);
}

function signalQuietly(container: Container, signal: number): void {
  try {
    container.running?.signal(signal);
  } catch (error) {
    // It has just ended by itself.
    if (!(error instanceof InroError && error.kind === "conflict")) throw error;
  }
}

/** A frozen process does not see its signal. */
async function thaw(ctx: Context, container: Container): Promise<void> {
  if (container.state.status !== "paused") return;
  await openCgroup(ctx, container)?.thaw();
  if (container.state.status !== "paused") return;
  container.state = { ...container.state, status: "running" };
  ctx.store.updateState(container.id, container.state);
  emit(ctx, container, "unpause");
}

/** Whether it ends within the time (milliseconds; undefined is for ever). */
async function ends(container: Container, milliseconds: number | undefined): Promise<boolean> {
  const finished = container.finished.then(() => true);
  if (milliseconds === undefined) return finished;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(milliseconds, 2 ** 31 - 1));
  });
  try {
    return await Promise.race([finished, late]);
  } finally {
    clearTimeout(timer);
  }
}
