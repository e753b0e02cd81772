import { syncInChild } from "./apply-command.ts";

const AFTER_MS = 1000;

/**
 * Which layers of one folder are not on the disk yet. They are synced in the background, those that come one after the
 * other together: it takes longer than their unpacking.
 */
export class LayerSync {
  readonly #waiting = new Set<string>();
  #syncing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `synced` notes that a layer will survive a power cut. */
  constructor(
    private readonly directory: string,
    private readonly synced: (chain: string) => void,
  ) {}

  /** A layer is there, whole, but perhaps not on the disk. */
  add(chain: string): void {
    this.#waiting.add(chain);
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // A failure shows when someone asks for it.
      this.all().catch(() => {});
    }, AFTER_MS);
    this.#timer.unref();
  }

  delete(chain: string): void {
    this.#waiting.delete(chain);
  }

  /** Resolves when every layer that is there now survives a power cut. */
  async all(): Promise<void> {
    const wanted = [...this.#waiting];
    while (wanted.some((chain) => this.#waiting.has(chain))) {
      this.#syncing ??= this.#now().finally(() => {
        this.#syncing = undefined;
      });
      await this.#syncing;
    }
  }

  async #now(): Promise<void> {
    const chains = [...this.#waiting];
    await syncInChild(this.directory);
    for (const chain of chains) {
      this.synced(chain);
      this.#waiting.delete(chain);
    }
  }
}
