import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseDigest } from "../../base/digest.ts";
import { messageOf, unavailable } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { mergeInChild } from "../apply-command.ts";
import { INDEX, mergeLayers, TAR } from "./index-layer.ts";
import { mountIndex, pathOfMount } from "./mount.ts";

/** Each is a descriptor here, and open files of the kernel's, as many as the image has layers. */
const MAX_MOUNTS = 128;
/** Whoever has asked for a path is done with it by then. */
const KEPT_MS = 10 * 60 * 1000;

/**
 * Layers of one directory that lie there as tars, shown as one file system by one index over all of them. The process
 * holds one mount an image, which all its containers share, and with it the page cache. Chain ids are trusted.
 */
export class IndexedImages {
  /** By the chain's last layer; the least recently asked for is the first. */
  readonly #mounts = new Map<string, { fd: number; asked: number }>();
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
    const known = this.#mounts.get(top);
    this.#mounts.delete(top);
    let fd = known?.fd;
    if (fd === undefined) {
      const tars = chains.map((chain) => join(this.directory, nameOf(chain), TAR));
      if (!existsSync(this.#index(top))) mergeLayers(this.#request(chains));
      try {
        fd = mountIndex(this.#index(top), tars);
      } catch (error) {
        throw unavailable(
          `mount an image's layers, which are kept without unpacking: ${messageOf(error)} (where the kernel cannot, remove the image and pull it again, with storage-driver overlay2)`,
          error,
        );
      }
      this.#dropIdle();
    }
    this.#mounts.set(top, { fd, asked: performance.now() });
    return pathOfMount(fd);
  }

  /** Lets go of a layer that is being deleted. */
  drop(chain: string): void {
    const mount = this.#mounts.get(chain);
    if (mount === undefined) return;
    this.#mounts.delete(chain);
    close(mount.fd);
  }

  /** Containers that run keep the file system; later ones get another, which shares no page cache with it. */
  #dropIdle(): void {
    const now = performance.now();
    for (const [chain, { asked }] of this.#mounts) {
      if (this.#mounts.size < MAX_MOUNTS || now - asked < KEPT_MS) return;
      this.drop(chain);
    }
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
