/** Without a request for so long, what the last ones have left is given back. */
const QUIET_MS = 5000;
/** And for so long, what the next ones would be served with. */
const ASLEEP_MS = 60_000;

/**
 * Gives memory back when a busy time is over. First the garbage: left alone, the runtime waits for the next allocations,
 * which an idle engine does not make; the collector works beside the event loop. Later the compiled code too, which the
 * runtime throws away in its second idle minute anyway, for the most part: that is a fifth of the engine's memory, takes 30 ms,
 * and the next request is served by the interpreter. One timer a busy time is all that it costs.
 */
export class Quiet {
  #last = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #collected = false;

  /** There is a request, or one is over. */
  touch(): void {
    this.#last = performance.now();
    if (this.#collected) this.stop();
    this.#timer ??= this.#arm(QUIET_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#collected = false;
  }

  #arm(ms: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      this.#timer = this.#next();
    }, ms);
    timer.unref();
    return timer;
  }

  #next(): ReturnType<typeof setTimeout> | undefined {
    const quiet = performance.now() - this.#last;
    if (quiet < QUIET_MS) return this.#arm(QUIET_MS - quiet);
    if (!this.#collected) Bun.gc(false);
    this.#collected = true;
    if (quiet < ASLEEP_MS) return this.#arm(ASLEEP_MS - quiet);
    this.#collected = false;
    Bun.shrink();
    return undefined;
  }
}
