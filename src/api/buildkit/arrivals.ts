const WAIT_MS = 10_000;

/** Things that two calls of a client know by an id, whichever comes first. */
export class Arrivals<T> {
  readonly #here = new Map<string, T>();
  readonly #waiting = new Map<string, Set<() => void>>();

  get size(): number {
    return this.#here.size;
  }

  has(id: string): boolean {
    return this.#here.has(id);
  }

  add(id: string, value: T): void {
    this.#here.set(id, value);
    for (const wake of [...(this.#waiting.get(id) ?? [])]) wake();
  }

  remove(id: string): void {
    this.#here.delete(id);
  }

  /** What has this id now, or within ten seconds; else undefined. Rejects with the signal's reason. */
  async get(id: string, signal: AbortSignal): Promise<T | undefined> {
    const known = this.#here.get(id);
    if (known !== undefined) return known;
    // One that has fired already says nothing more.
    signal.throwIfAborted();
    const late = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]);
    await new Promise<void>((resolve) => {
      const wakes = this.#waiting.get(id) ?? new Set();
      const wake = () => {
        wakes.delete(wake);
        if (wakes.size === 0) this.#waiting.delete(id);
        resolve();
      };
      this.#waiting.set(id, wakes.add(wake));
      late.addEventListener("abort", wake, { once: true });
    });
    signal.throwIfAborted();
    return this.#here.get(id);
  }
}
