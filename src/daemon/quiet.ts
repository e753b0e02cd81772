/** Without a request for so long, what the last ones have left is given back. */
const QUIET_MS = 5000;

/**
 * Collects garbage when a busy time is over: left alone, the runtime waits for the next allocations, which an idle engine
 * does not make. The collector works beside the event loop, and one timer a busy time is all that it costs.
 */
export class Quiet {
  #last = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** There is a request, or one is over. */
  touch(): void {
    this.#last = performance.now();
    this.#timer ??= this.#arm(QUIET_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      const left = this.#last + QUIET_MS - performance.now();
      this.#timer = left > 0 ? this.#arm(left) : undefined;
      if (left <= 0) Bun.gc(false);
    }, ms);
    timer.unref();
    return timer;
  }
}
