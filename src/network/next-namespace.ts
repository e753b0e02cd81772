import { createNetworkNamespace, type NetworkNamespace } from "./namespace.ts";

/**
 * A network namespace that is there before it is needed: the kernel takes about a millisecond to make one, which a launch
 * need not wait for. It is made while the one before is starting; nobody is in it, and it goes with its descriptor.
 */
export class NextNamespace {
  #ready: NetworkNamespace | undefined;
  #launches = 0;

  get ready(): boolean {
    return this.#ready !== undefined;
  }

  /** Of the one that is ready. */
  get fd(): number | undefined {
    return this.#ready?.fd;
  }

  /** The caller's from now on. */
  take(): NetworkNamespace {
    const ready = this.#ready;
    this.#ready = undefined;
    return ready ?? createNetworkNamespace();
  }

  /** For who has a millisecond to spare. What fails will fail again, and be told, when one is taken. */
  prepare(): void {
    try {
      this.#ready ??= createNetworkNamespace();
    } catch {
      // See above.
    }
  }

  /** Waits for a launch. One that is alone leaves the time to prepare; of many, each makes its own in its own process. */
  async beside<T>(launch: Promise<T>): Promise<T> {
    this.#launches++;
    try {
      if (this.#launches === 1) this.prepare();
      return await launch;
    } finally {
      this.#launches--;
    }
  }

  close(): void {
    this.#ready?.close();
    this.#ready = undefined;
  }
}
