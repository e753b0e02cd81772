import { conflict, InroError } from "../base/errors.ts";
import { parseSignal } from "./config/signals.ts";
import type { Container } from "./container.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import type { StopOptions } from "./requests.ts";

const SIGKILL = 9;
const SIGTERM = 15;
const DEFAULT_TIMEOUT_S = 10;
/** How long a killed process may take to die before everything in its cgroup is killed. */
const KILL_PATIENCE_MS = 2000;

/** Sends a signal; a paused container is thawed for it. Not running is a conflict. */
export async function killContainer(ctx: Context, container: Container, signal: string | undefined): Promise<void> {
  const number = parseSignal(signal || "SIGKILL");
  if (!container.isRunning || !container.running) {
    throw conflict(`cannot kill container: ${container.id}: container ${container.id} is not running`);
  }
  if (number === SIGKILL) container.stopping = true;
  container.running.signal(number);
  emit(ctx, container, "kill", { signal: String(number) });
  await thaw(ctx, container);
}

/**
 * Ends a running container: the stop signal, after the timeout SIGKILL. Resolves when it has ended and is cleaned up.
 * Not running is notModified.
 */
export async function stopContainer(ctx: Context, container: Container, options: StopOptions = {}): Promise<void> {
  const { config } = container.record;
  const number = options.signal || config.StopSignal ? parseSignal(options.signal || config.StopSignal!) : SIGTERM;
  const timeout = options.timeout ?? config.StopTimeout ?? DEFAULT_TIMEOUT_S;
  if (!container.isRunning) throw new InroError("notModified", `container ${container.id} is not running`);
  container.stopping = true;
  signalQuietly(container, number);
  emit(ctx, container, "kill", { signal: String(number) });
  await thaw(ctx, container);
  if (!(await ends(container, timeout < 0 ? undefined : timeout * 1000))) await forceEnd(ctx, container);
  emit(ctx, container, "stop");
}

/** SIGKILL, to pid 1 and then to all of the cgroup. Resolves when the container has ended and is cleaned up. */
export async function forceEnd(ctx: Context, container: Container): Promise<void> {
  container.stopping = true;
  signalQuietly(container, SIGKILL);
  emit(ctx, container, "kill", { signal: String(SIGKILL) });
  await thaw(ctx, container);
  if (await ends(container, KILL_PATIENCE_MS)) return;
  openCgroup(ctx, container)?.killAll();
  await container.finished;
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
