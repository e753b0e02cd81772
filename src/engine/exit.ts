import { messageOf } from "../base/errors.ts";
import type { ExitStatus, Running } from "../runtime/running.ts";
import { formatNanoseconds, parseRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import { endedHealth } from "./health/record.ts";
import { removeContainer } from "./remove.ts";
import { nextRestart } from "./restart/policy.ts";
import { removeRunDirectory } from "./run-directory.ts";
import type { Volumes } from "./volumes.ts";

/**
 * Sees a run through to its end: output drained, exit code written, waiters told, cgroup and run directory removed, the
 * container itself too with AutoRemove. `container.finished` settles when all of it is done; it never rejects.
 */
export function watchExit(ctx: Context, volumes: Volumes, container: Container, running: Running): void {
  container.finished = end(ctx, volumes, container, running)
    .catch((error) => ctx.log(`container ${container.id.slice(0, 12)}: after its end: ${messageOf(error)}`))
    .finally(() => {
      container.ending = false;
    });
}

async function end(ctx: Context, volumes: Volumes, container: Container, running: Running): Promise<void> {
  const status = await running.exited;
  if (container.running !== running) return;
  container.ending = true;
  ctx.health.end(container);
  const cgroup = openCgroup(ctx, container);
  // In a pid namespace of its own the kernel has killed the rest; elsewhere a daemon could write for ever.
  if (container.record.host.PidMode) cgroup?.killAll();
  await container.stdio.finish();
  recordExit(ctx, container, status, { oomKilled: cgroup?.oomKilled() ?? false });
  ctx.expiry.end(container);
  container.running = undefined;
  // Whoever waited is answered first.
  await new Promise(setImmediate);
  running.release();
  if (container.record.mounts.length > 0) volumes.unmounted(container);
  await cgroup?.remove();
  container.cgroup = undefined;
  // Last: while there is a run directory, there may be a cgroup.
  await removeRunDirectory(ctx.paths.runDir(container.id));
  if (removesItself(container)) await removeContainer(ctx, volumes, container, { volumes: true });
  ctx.restarts.schedule(ctx, container);
}

/** AutoRemove, of one that has ended: unless a client is restarting it. */
export function removesItself({ record, state }: Container): boolean {
  return record.host.AutoRemove === true && state.status !== "restarting";
}

/** Writes how a run ended and whether another follows, then tells everyone. */
export function recordExit(
  ctx: Context,
  container: Container,
  status: ExitStatus,
  options: { oomKilled?: boolean; error?: string } = {},
): void {
  const { restarts, network, restartAsked = false, ...before } = container.state;
  if (network) {
    ctx.endpoints.release(container, network);
    ctx.dns.end(container.id);
    ctx.dns.changed();
  }
  // Its time begins anew, as with any start by a client.
  if (restartAsked) delete before.expires;
  const finishedAt = formatNanoseconds(BigInt(status.at.getTime()) * 1_000_000n);
  const next = nextRestart(container.record.host, restarts, {
    exitCode: status.code,
    stopped: before.stopped === true,
    restart: restartAsked,
    unhealthy: before.health?.status === "unhealthy",
    lived: before.status === "starting" ? 0 : status.at.getTime() - Date.parse(before.startedAt),
    at: status.at.getTime(),
  });
  const count = next ?? (restarts && { count: restarts.count, delay: restarts.delay });
  container.state = {
    ...before,
    ...(count ? { restarts: count } : {}),
    ...(before.health ? { health: endedHealth(before.health) } : {}),
    status: next ? "restarting" : "exited",
    pid: 0,
    exitCode: status.code,
    error: options.error ?? "",
    oomKilled: options.oomKilled ?? false,
    finishedAt,
  };
  try {
    ctx.store.updateState(container.id, container.state);
    if (container.durable) ctx.store.sync().catch((error) => ctx.log(`sync: ${messageOf(error)}`));
  } finally {
    tellExit(ctx, container, status, options);
  }
}

function tellExit(ctx: Context, container: Container, status: ExitStatus, options: { oomKilled?: boolean }): void {
  const { startedAt, finishedAt } = container.state;
  if (options.oomKilled) emit(ctx, container, "oom");
  const lived = (parseRfc3339(finishedAt) ?? 0n) - (parseRfc3339(startedAt) ?? 0n);
  emit(ctx, container, "die", {
    exitCode: String(status.code),
    execDuration: String(lived > 0n ? lived / 1_000_000_000n : 0n),
  });
  container.wake(container.exitWaiters);
}
