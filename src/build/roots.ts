import { chainOn } from "../base/digest.ts";
import type { Hold } from "../images/holds.ts";
import type { StoredLayer } from "../images/store.ts";
import type { Download, FileSource } from "./step.ts";

/** Files of a client, opened for one build. */
export interface OpenContext {
  readonly source: FileSource;
  /** Digest of all of it, when it is known: what was found out about these files stays true. */
  readonly identity?: string;
  release(): void | Promise<void>;
}

/** What a vertex is, before it is known whether its data is here. */
export type Identity =
  | Root
  | { readonly kind: "files"; readonly open: OpenContext }
  | { readonly kind: "download"; readonly file: Download };

/** A root file system. */
export interface Root {
  readonly kind: "snapshot";
  readonly layers: readonly StoredLayer[];
  /** Its ChainID; empty for none. */
  readonly chain: string;
}

export const EMPTY: Root = { kind: "snapshot", layers: [], chain: "" };

/** The root with a layer on it, if there is one. */
export function extended(base: Root, layer: StoredLayer | undefined): Root {
  if (!layer) return base;
  return { kind: "snapshot", layers: [...base.layers, layer], chain: chainOn(base.chain, layer.diffId) };
}

/** Keeps the top of a root; what is below is kept by whoever made it. */
export function keep(hold: Hold, { layers, chain }: Root): void {
  const top = layers.at(-1);
  if (!top) return;
  hold.chain(chain);
  hold.blob(top.blob.digest);
}
