import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { removeContainer } from "./remove.ts";
import { type StartOptions, startContainer } from "./start.ts";
import type { Volumes } from "./volumes.ts";

/** As {@link startContainer}; one with AutoRemove whose launch fails has had its run, and goes. */
export async function startOrDiscard(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  options: StartOptions = {},
): Promise<void> {
  try {
    await startContainer(ctx, volumes, container, options);
  } catch (error) {
    const failed = !container.isRunning && container.state.error !== "";
    if (failed && container.record.host.AutoRemove) await removeContainer(ctx, volumes, container, { volumes: true });
    throw error;
  }
}
