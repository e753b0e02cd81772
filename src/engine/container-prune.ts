import { conflict, InroError } from "../base/errors.ts";
import { sizesInChild } from "../layers/apply-command.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Filters } from "./requests.ts";
import { parseUntil } from "./until.ts";

const pruning = new WeakSet<Context>();

/**
 * Removes the containers that do not run (filters `until`, `label`, `label!`). Bytes are of their writable layers. A
 * second prune meanwhile is a conflict.
 */
export async function pruneContainers(
  ctx: Context,
  filters: Filters,
  remove: (id: string) => Promise<void>,
): Promise<{ ContainersDeleted: string[]; SpaceReclaimed: number }> {
  const until = parseUntil(filters.get("until"));
  if (pruning.has(ctx)) throw conflict("a prune operation is already running");
  pruning.add(ctx);
  const ContainersDeleted: string[] = [];
  let SpaceReclaimed = 0;
  try {
    const isOver = ({ state }: Container) => state.status === "created" || state.status === "exited";
    const chosen = ctx.table
      .all()
      .filter(isOver)
      .filter(({ record }) => until === undefined || Date.parse(record.created) <= until)
      .filter(({ record }) => labelsMatch(record.config.Labels ?? {}, filters));
    const sizes = await sizesInChild(chosen.map(({ id }) => ctx.paths.inContainer(id, "upper")));
    for (const [i, container] of chosen.entries()) {
      // Since then it may have been started.
      if (!isOver(container)) continue;
      try {
        await remove(container.id);
        ContainersDeleted.push(container.id);
        SpaceReclaimed += sizes[i]!;
      } catch (error) {
        // Started or removed meanwhile.
        if (!(error instanceof InroError)) throw error;
      }
    }
  } finally {
    pruning.delete(ctx);
  }
  ctx.events.emit("container", "prune", "", { reclaimed: String(SpaceReclaimed) });
  return { ContainersDeleted, SpaceReclaimed };
}
