import { invalid } from "../base/errors.ts";
import type { DiskUsage, UsageKind } from "../engine/disk-usage.ts";
import { type Call, flag, type Handler, json } from "./call.ts";

const KINDS: readonly string[] = ["container", "image", "volume", "build-cache"];

export const diskUsageRoutes: Record<string, Handler> = {
  "GET /system/df": async (call) => {
    const kinds = wanted(call);
    const usage = await call.engine.diskUsages.usage(kinds as ReadonlySet<UsageKind>);
    if (call.version < 1.52) return json(200, legacy(usage));
    // Until its clients ask for one or the other, 1.52 has both forms.
    const verbose = flag(call.query, "verbose");
    return json(200, { ...(verbose ? {} : legacy(usage)), ...summary(usage, verbose) });
  },
};

function wanted({ query, version }: Call): ReadonlySet<string> {
  const types = version < 1.42 ? [] : query.getAll("type");
  for (const type of types) {
    if (!KINDS.includes(type)) throw invalid(`unknown object type: ${type.slice(0, 100)}`);
  }
  return new Set(types.length > 0 ? types : KINDS);
}

/** Before 1.52. */
function legacy({ layersSize, images, containers, volumes, buildCache }: DiskUsage): object {
  return {
    LayersSize: layersSize ?? 0,
    Images: images ?? null,
    Containers: containers ?? null,
    Volumes: volumes ?? null,
    BuildCache: buildCache ?? null,
  };
}

const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + Math.max(0, size), 0);

/** Since 1.52: figures of each kind, `Items` with `verbose`. */
function summary(
  { imagesDisk = { total: 0, reclaimable: 0 }, images, containers, volumes, buildCache }: DiskUsage,
  verbose: boolean,
) {
  const of = <T>(items: readonly T[], active: (item: T) => boolean, total: number, reclaimable: number) => ({
    ActiveCount: items.filter(active).length,
    TotalCount: items.length,
    Reclaimable: reclaimable,
    TotalSize: total,
    ...(verbose ? { Items: items } : {}),
  });
  const size = (volume: { UsageData?: { Size: number } }) => volume.UsageData?.Size ?? 0;
  return {
    ...(images && {
      ImageUsage: of(images, ({ Containers }) => Containers > 0, imagesDisk.total, imagesDisk.reclaimable),
    }),
    ...(containers && {
      ContainerUsage: of(
        containers,
        isActive,
        sum(containers.map(({ SizeRw = 0 }) => SizeRw)),
        sum(containers.filter((one) => !isActive(one)).map(({ SizeRw = 0 }) => SizeRw)),
      ),
    }),
    ...(volumes && {
      VolumeUsage: of(
        volumes,
        ({ UsageData }) => UsageData!.RefCount > 0,
        sum(volumes.map(size)),
        sum(volumes.filter(({ UsageData }) => UsageData!.RefCount === 0).map(size)),
      ),
    }),
    ...(buildCache && {
      BuildCacheUsage: of(
        buildCache,
        ({ InUse }) => InUse,
        sum(buildCache.map(({ Size }) => Size)),
        sum(buildCache.filter(({ InUse, Shared }) => !InUse && !Shared).map(({ Size }) => Size)),
      ),
    }),
  };
}

const isActive = ({ State }: { State: string }) => ["running", "paused", "restarting"].includes(State);
