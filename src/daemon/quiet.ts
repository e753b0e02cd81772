import { leavePages } from "../linux/resident.ts";

/** Without a request for so long, what the last ones have left is given back. */
const QUIET_MS = 5000;
/** And for so long, the pages of the program too. */
const ASLEEP_MS = 60_000;

/**
 * Gives memory back when a busy time is over. First the garbage: left alone, the runtime waits for the next allocations,
 * which an idle engine does not make; the collector works beside the event loop. Later the pages of the program, a third
 * of an engine's memory, most of them of its start: the next request pays a millisecond for those that it needs.
 */
export class Quiet {
  #last = 0;
  #collected = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

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
    if (!this.#collected) {
      Bun.gc(false);
      this.#collected = true;
      return this.#arm(ASLEEP_MS - QUIET_MS);
    }
    this.#collected = false;
    // Memory is all that a failure costs.
    leavePages().catch(() => {});
    return undefined;
  }
}
