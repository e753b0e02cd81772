import type { ContentStore } from "../content/store.ts";
import type { Layers } from "../layers/layers.ts";
import type { Descriptor } from "../spec/oci-image.ts";
import { sha256 } from "../base/digest.ts";
import { chainId } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { parseImageConfig } from "./config.ts";
import { Flights } from "./flights.ts";
import { type Hold, Holds } from "./holds.ts";
import { type ImageRow, Records } from "./records.ts";

/** A layer that is in the content store, before it is unpacked. */
export interface StoredLayer {
  blob: Descriptor;
  diffId: string;
}

/** Records, blobs and layers together: what every operation on images works with. */
export class ImageStore {
  readonly holds: Holds;
  readonly downloads = new Flights<void, number>();
  private readonly unpacking = new Flights<void, number>();

  constructor(
    readonly records: Records,
    readonly content: ContentStore,
    readonly layers: Layers,
  ) {
    this.holds = new Holds(records, content, layers);
  }

  /** Unpacks layer `index` of the image with these diffIDs, unless it is. Those below must be there. False when it was. */
  async unpack(
    diffIds: string[],
    index: number,
    blob: string,
    hold: Hold,
    options: { signal: AbortSignal; onProgress(bytes: number): void },
  ): Promise<boolean> {
    const chain = chainId(diffIds.slice(0, index + 1));
    hold.chain(chain);
    if (this.layers.has(chain)) return false;
    const caller = { signal: options.signal, onEvent: options.onProgress };
    await this.unpacking.run(chain, caller, async (signal, emit) => {
      const parents = diffIds.slice(0, index);
      const source = { path: this.content.path(blob) };
      await this.layers.apply({ source, parents, diffId: diffIds[index]!, signal, onProgress: emit });
    });
    return true;
  }

  /** The row of an image whose blobs and unpacked layers are all there and held. Records nothing. */
  row(configText: string, manifest: Descriptor, blobs: Descriptor[]): Omit<ImageRow, "config"> {
    const config = parseImageConfig(configText);
    const diffIds = config.rootfs.diff_ids;
    if (diffIds.length !== blobs.length) {
      throw invalid(`image config names ${diffIds.length} layers, the manifest ${blobs.length}`);
    }
    const layers = blobs.map((blob, index) => {
      const chain = chainId(diffIds.slice(0, index + 1));
      return { diffId: diffIds[index]!, chainId: chain, blob };
    });
    const size = layers.reduce((sum, layer) => sum + this.layers.size(layer.chainId), 0);
    const created = config.created === undefined ? undefined : new Date(config.created).toISOString();
    return { id: sha256(configText), configText, manifest, size, created: created ?? "0001-01-01T00:00:00Z", layers };
  }
}
