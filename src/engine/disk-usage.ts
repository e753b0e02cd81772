import { diskSizesInChild, sizesInChild } from "../layers/apply-command.ts";
import type { BuildCacheItem } from "../spec/build.ts";
import type { ContainerSummary, ImageSummary, Volume } from "../spec/docker-api.ts";
import type { Context } from "./context.ts";
import type { Engine } from "./engine.ts";
import { listImages } from "./image-list.ts";
import { localVolume } from "./volumes/local-options.ts";

/** What takes space, as GET /system/df has it; sizes in bytes. Undefined was not asked for. */
export interface DiskUsage {
  /** Of all layers, each counted once: bytes of their files. */
  layersSize?: number;
  /** Of all that images take on the disk, as du(1) has it: blobs, layers, and what is left of unfinished ones. */
  imagesDisk?: { total: number; reclaimable: number };
  images?: ImageSummary[];
  containers?: ContainerSummary[];
  volumes?: Volume[];
  buildCache?: BuildCacheItem[];
}

export type UsageKind = "image" | "container" | "volume" | "build-cache";

/**
 * Counts what takes space. Trees are walked in another process, and those who ask meanwhile get the same answer: a walk
 * may take minutes.
 */
export class DiskUsages {
  #containers: Promise<ContainerSummary[]> | undefined;
  #volumes: Promise<Volume[]> | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly ctx: Context,
  ) {}

  async usage(kinds: ReadonlySet<UsageKind>): Promise<DiskUsage> {
    const [imagesDisk, containers, volumes, entries] = await Promise.all([
      kinds.has("image") ? this.#imagesDisk() : undefined,
      kinds.has("container") ? this.#countContainers() : undefined,
      kinds.has("volume") ? this.#countVolumes() : undefined,
      kinds.has("build-cache") ? this.engine.builds.entries() : undefined,
    ]);
    return {
      ...(imagesDisk ? { ...this.#images(), imagesDisk } : {}),
      ...(containers ? { containers } : {}),
      ...(volumes ? { volumes } : {}),
      ...(entries ? { buildCache: entries.map(({ item }) => item) } : {}),
    };
  }

  #images(): Pick<DiskUsage, "images" | "layersSize"> {
    const images = listImages(this.engine, new Map(), { sharedSize: true });
    const layers = new Map(images.flatMap(({ Id }) => [...this.engine.images.layerSizes(Id)]));
    return { images, layersSize: [...layers.values()].reduce((sum, size) => sum + size, 0) };
  }

  async #imagesDisk(): Promise<{ total: number; reclaimable: number }> {
    const { images, paths, table } = this.ctx;
    const pathsOf = (some: readonly { id: string }[]) => [...new Set(some.flatMap(({ id }) => images.pathsOf(id)))];
    const all = images.list();
    const used = all.filter(({ id }) => table.usersOf(id).length > 0);
    const lists = [[paths.content, paths.layers], pathsOf(all), pathsOf(used)];
    const [total = 0, every = 0, kept = 0] = await diskSizesInChild(lists);
    return { total, reclaimable: every - kept };
  }

  #countContainers(): Promise<ContainerSummary[]> {
    const count = async () => {
      const containers = await this.engine.containers.list({ all: true });
      const sizes = await sizesInChild(containers.map(({ Id }) => this.ctx.paths.inContainer(Id, "upper")));
      return containers.map((container, i) => {
        const SizeRw = sizes[i]!;
        return { ...container, SizeRw, SizeRootFs: SizeRw + this.#imageSize(container.ImageID) };
      });
    };
    this.#containers ??= count().finally(() => {
      this.#containers = undefined;
    });
    return this.#containers;
  }

  #imageSize(id: string): number {
    try {
      return this.ctx.images.find(id).size;
    } catch {
      // It was removed by force.
      return 0;
    }
  }

  #countVolumes(): Promise<Volume[]> {
    const count = async () => {
      const volumes = this.engine.volumes.list();
      // What is elsewhere is not the engine's to count.
      const ours = volumes.filter(({ Options }) => localVolume(Options ?? undefined).kind === "directory");
      const sizes = await sizesInChild(ours.map(({ Mountpoint }) => Mountpoint));
      const sizeOf = new Map(ours.map(({ Name }, i) => [Name, sizes[i]!]));
      const counts = this.engine.volumes.useCounts();
      return volumes.map((volume) => {
        const RefCount = counts.get(volume.Name) ?? 0;
        return { ...volume, UsageData: { Size: sizeOf.get(volume.Name) ?? 0, RefCount } };
      });
    };
    this.#volumes ??= count().finally(() => {
      this.#volumes = undefined;
    });
    return this.#volumes;
  }
}
