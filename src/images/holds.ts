import type { ContentStore } from "../content/store.ts";
import type { Layers } from "../layers/layers.ts";
import type { Records } from "./records.ts";

/**
 * What keeps blobs and layers alive: a record, or a hold of an operation in progress. Nothing else does. Whatever loses
 * its last hold or record is deleted at once, so a failed operation leaves nothing, and a removal never takes what a
 * pull is about to record.
 */
export class Holds {
  private readonly blobs = new Map<string, number>();
  private readonly chains = new Map<string, number>();

  constructor(
    private readonly records: Records,
    private readonly content: ContentStore,
    private readonly layers: Layers,
  ) {}

  open(): Hold {
    return new Hold(this);
  }

  /** @internal */
  take(kind: "blobs" | "chains", key: string): void {
    this[kind].set(key, (this[kind].get(key) ?? 0) + 1);
  }

  /** @internal */
  drop(kind: "blobs" | "chains", key: string): void {
    const count = (this[kind].get(key) ?? 0) - 1;
    if (count > 0) this[kind].set(key, count);
    else this[kind].delete(key);
  }

  /** Deletes those of the given that nothing keeps alive; answers the chains deleted, in the order given. */
  sweep(blobs: Iterable<string>, chains: Iterable<string>): string[] {
    const deleted: string[] = [];
    for (const chain of chains) {
      if (this.chains.has(chain) || this.records.isChainUsed(chain) || !this.layers.has(chain)) continue;
      this.layers.delete(chain);
      deleted.push(chain);
    }
    for (const blob of blobs) {
      // Asked for first: deleting would also take a partial ingest that a later pull may resume.
      if (!this.blobs.has(blob) && !this.records.isBlobUsed(blob) && this.content.has(blob)) this.content.delete(blob);
    }
    return deleted;
  }
}

/** The blobs and chains of one operation. Released at its end, after its records are written. */
export class Hold {
  private readonly blobs = new Set<string>();
  private readonly chains = new Set<string>();

  constructor(private readonly holds: Holds) {}

  blob(digest: string): void {
    if (this.blobs.has(digest)) return;
    this.blobs.add(digest);
    this.holds.take("blobs", digest);
  }

  chain(chainId: string): void {
    if (this.chains.has(chainId)) return;
    this.chains.add(chainId);
    this.holds.take("chains", chainId);
  }

  /** Ends the hold and deletes what neither a record nor another hold needs. */
  release(): void {
    for (const blob of this.blobs) this.holds.drop("blobs", blob);
    for (const chain of this.chains) this.holds.drop("chains", chain);
    // Upper layers first, so that none is ever there without those below it.
    this.holds.sweep(this.blobs, [...this.chains].reverse());
    this.blobs.clear();
    this.chains.clear();
  }
}
