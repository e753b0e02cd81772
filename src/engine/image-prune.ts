import { conflict, InroError } from "../base/errors.ts";
import type { Removal } from "../images/images.ts";
import { readBoolean } from "./filters.ts";
import type { EngineImages } from "./host-image.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Filters } from "./requests.ts";
import { parseUntil } from "./until.ts";

/** Keys of `filters` for the prune of images. */
export const IMAGE_PRUNE_FILTERS = ["dangling", "until", "label", "label!"] as const;

const pruning = new WeakSet<EngineImages>();

/**
 * Removes images without a name, or with `dangling=false` all that no container uses. Bytes are of the unpacked layers
 * that went. A second prune meanwhile is a conflict.
 */
export async function pruneImages(
  images: EngineImages,
  filters: Filters,
  users: (imageId: string) => { id: string; running: boolean }[],
): Promise<{ ImagesDeleted: Removal; SpaceReclaimed: number }> {
  const until = parseUntil(filters.get("until"));
  const onlyDangling = readBoolean(filters, "dangling") ?? true;
  if (pruning.has(images)) throw conflict("a prune operation is already running");
  pruning.add(images);
  const ImagesDeleted: Removal = [];
  let SpaceReclaimed = 0;
  try {
    for (const { id, tags, created, config } of images.list()) {
      if (onlyDangling && tags.length > 0) continue;
      if (until !== undefined && Date.parse(created) > until) continue;
      if (!labelsMatch(config.config?.Labels ?? {}, filters) || users(id).length > 0) continue;
      const sizes = images.layerSizes(id);
      try {
        // By its id all names go at once; without force that is a conflict, but not one with a container.
        const removal = images.remove(id, { force: true, users });
        ImagesDeleted.push(...removal);
        for (const { Deleted } of removal) SpaceReclaimed += sizes.get(Deleted ?? "") ?? 0;
      } catch (error) {
        // Used or removed meanwhile.
        if (!(error instanceof InroError)) throw error;
      }
      // Layers are deleted synchronously: others get their turn between two images.
      await new Promise(setImmediate);
    }
  } finally {
    pruning.delete(images);
  }
  images.pruned(SpaceReclaimed);
  return { ImagesDeleted, SpaceReclaimed };
}
