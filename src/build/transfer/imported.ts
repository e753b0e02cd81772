import type { Descriptor } from "../../spec/oci-image.ts";
import type { CacheRecord } from "../cache.ts";
import type { CacheDocument } from "./document.ts";

/** A cache that is elsewhere: its layers come when a step has use for them. */
export interface CacheSource {
  readonly document: CacheDocument;
  readonly layers: readonly Descriptor[];
  /** Puts a layer into the content store, verified. The caller holds it. */
  fetch(layer: Descriptor, signal: AbortSignal): Promise<void>;
}

/**
 * Caches that one build was told to use. What they say counts in that build alone: it is not written to the engine's own
 * cache, where other builds would trust it.
 */
export class ImportedCaches {
  readonly #records = new Map<string, { record: CacheRecord; source: CacheSource }>();
  readonly #selections = new Map<string, string>();

  constructor(sources: readonly CacheSource[]) {
    for (const source of sources) {
      const { records, selections, diffIds } = source.document;
      for (const { key, chain, parent, description, layer } of records) {
        if (this.#records.has(key)) continue;
        const stored = layer === undefined ? undefined : { diffId: diffIds[layer]!, blob: source.layers[layer]! };
        const times = { size: 0, created: 0, used: 0, uses: 0 };
        this.#records.set(key, { record: { key, chain, parent, description, layer: stored, ...times }, source });
      }
      for (const [from, selection, digest] of selections) this.#selections.set(`${from} ${selection}`, digest);
    }
  }

  record(key: string): CacheRecord | undefined {
    return this.#records.get(key)?.record;
  }

  selection(source: string, selection: string): string | undefined {
    return this.#selections.get(`${source} ${selection}`);
  }

  /** Puts the layer of {@link record} into the content store. False when there is none, or it cannot be had any more. */
  async fetch(key: string, signal: AbortSignal): Promise<boolean> {
    const known = this.#records.get(key);
    if (!known?.record.layer) return false;
    try {
      await known.source.fetch(known.record.layer.blob, signal);
      return true;
    } catch {
      signal.throwIfAborted();
      // A step can always be done again.
      return false;
    }
  }
}
