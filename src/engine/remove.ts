import { existsSync } from "node:fs";
import type { Container } from "./container.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import { removeRunDirectory } from "./run-directory.ts";
import type { Volumes } from "./volumes.ts";

/**
 * Removes a container that does not run, and all that is its own. The intent is written first and the row goes last, so
 * that a crash in between is finished by the next engine. Twice is fine.
 */
export async function removeContainer(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  options: { volumes?: boolean },
): Promise<void> {
  if (container.removed) return;
  const { id } = container;
  const ran = existsSync(ctx.paths.runDir(id));
  container.state = { ...container.state, status: "removing", removeVolumes: options.volumes === true };
  // One that ran has a directory, so a row without it says as much (reconcile.ts).
  if (ran || container.record.anonymous.length > 0) ctx.store.updateState(id, container.state);
  if (ran) {
    await openCgroup(ctx, container)?.remove();
    await removeRunDirectory(ctx.paths.runDir(id));
  }
  ctx.trash.discard(ctx.paths.container(id));
  container.removed = true;
  ctx.table.delete(container);
  if (options.volumes) {
    for (const name of container.record.anonymous) {
      if (volumes.usersOf(name).length === 0) volumes.discard(name);
    }
  }
  // A power failure may bring the row back, without anything behind it: removing it again is all it takes.
  ctx.store.deleteContainer(id);
  ctx.images.collect((imageId) => ctx.table.usersOf(imageId));
  emit(ctx, container, "destroy");
  container.stdio.endClients();
  container.log?.wake();
  container.wake(container.removalWaiters);
}
