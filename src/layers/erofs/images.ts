import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseDigest } from "../../base/digest.ts";
import { messageOf, unavailable } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { mergeInChild } from "../apply-command.ts";
import { INDEX, mergeLayers, TAR } from "./index-layer.ts";
import { mountIndex, pathOfMount } from "./mount.ts";

/**
 * Layers of one directory that lie there as tars, shown as one file system by one index over all of them. The process
 * holds one mount an image, which all its containers share, and with it the page cache. Chain ids are trusted.
 */
export class IndexedImages {
  readonly #mounts = new Map<string, number>();
  readonly #merging = new Map<string, Promise<void>>();

  constructor(private readonly directory: string) {}

  /** Makes the index of the uppermost of `chains` (base first), unless it is there. */
  async prepare(chains: readonly string[]): Promise<void> {
    const top = chains.at(-1)!;
    if (this.#mounts.has(top) || existsSync(this.#index(top))) return;
    const merging = this.#merging.get(top) ?? mergeInChild(this.#request(chains));
    this.#merging.set(top, merging);
    try {
      await merging;
    } finally {
      this.#merging.delete(top);
    }
  }

  /** A path of its root. Without {@link prepare} the index is made here, which takes its time. */
  path(chains: readonly string[]): string {
    const top = chains.at(-1)!;
    let mount = this.#mounts.get(top);
    if (mount === undefined) {
      const tars = chains.map((chain) => join(this.directory, nameOf(chain), TAR));
      if (!existsSync(this.#index(top))) mergeLayers(this.#request(chains));
      try {
        mount = mountIndex(this.#index(top), tars);
      } catch (error) {
        throw unavailable(
          `mount an image's layers, which are kept without unpacking: ${messageOf(error)} (where the kernel cannot, pull or load the image again with storage-driver overlay2)`,
          error,
        );
      }
      this.#mounts.set(top, mount);
    }
    return pathOfMount(mount);
  }

  /** Lets go of a layer that is being deleted. */
  drop(chain: string): void {
    const mount = this.#mounts.get(chain);
    if (mount === undefined) return;
    this.#mounts.delete(chain);
    close(mount);
  }

  /** Lets go of all. */
  close(): void {
    for (const chain of [...this.#mounts.keys()]) this.drop(chain);
  }

  #index(chain: string): string {
    return join(this.directory, nameOf(chain), INDEX);
  }

  #request(chains: readonly string[]) {
    return { directory: this.directory, layers: chains.map(nameOf) };
  }
}

const nameOf = (chain: string) => parseDigest(chain).hex;
