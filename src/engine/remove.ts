import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { removeTree } from "../layers/remove-tree.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
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
  container.state = { ...container.state, status: "removing", removeVolumes: options.volumes === true };
  ctx.store.updateState(id, container.state, false);
  if (existsSync(ctx.paths.runDir(id))) {
    await openCgroup(ctx, container)?.remove();
    removeRunDirectory(ctx.paths.runDir(id));
  }
  await removeDirectory(ctx.paths.containers, id);
  container.removed = true;
  ctx.table.delete(container);
  if (options.volumes) {
    for (const name of container.record.anonymous) {
      if (volumes.usersOf(name).length === 0) await volumes.discard(name);
    }
  }
  // A power failure may bring the row back, without anything behind it: removing it again is all it takes.
  ctx.store.deleteContainer(id, false);
  ctx.images.collect((imageId) => ctx.table.usersOf(imageId));
  emit(ctx, container, "destroy");
  container.stdio.endClients();
  container.log?.wake();
  container.wake(container.removalWaiters);
}

/** Off the event loop first; what that cannot do (a path too long for a system call) by descriptors. */
async function removeDirectory(parent: string, name: string): Promise<void> {
  try {
    await rm(`${parent}/${name}`, { recursive: true, force: true });
  } catch {
    const fd = openat(k.AT_FDCWD, parent, k.O_RDONLY | k.O_DIRECTORY);
    try {
      removeTree(fd, name);
    } finally {
      close(fd);
    }
  }
}
