/** setTimeout takes no more (2^31 - 1 ms); a later time is waited for in parts. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Things to do at a time, one for each key. However many there are, the process has one timer, for the next of them, and
 * none while there is nothing to do. It does not keep the process alive.
 */
export class Timers<Key> {
  readonly #entries = new Map<Key, { at: number; run: () => void }>();
  #timer: NodeJS.Timeout | undefined;
  #next = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#entries.size;
  }

  /** Runs `run`, which does not throw, in `delay` milliseconds, in place of what was set for `key` before. */
  set(key: Key, delay: number, run: () => void): void {
    const at = performance.now() + Math.max(0, delay);
    const replaced = this.#entries.get(key);
    this.#entries.set(key, { at, run });
    if (at < this.#next) this.#wait(at);
    else if (replaced?.at === this.#next) this.#waitForNext();
  }

  cancel(key: Key): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (entry.at === this.#next) this.#waitForNext();
  }

  clear(): void {
    this.#entries.clear();
    this.#waitForNext();
  }

  #waitForNext(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#entries.values()) if (at < next) next = at;
    this.#wait(next);
  }

  #wait(next: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#next = next;
    if (next === Number.POSITIVE_INFINITY) return;
    const delay = Math.min(Math.max(0, next - performance.now()), LONGEST_MS);
    this.#timer = setTimeout(() => this.#fire(), Math.ceil(delay));
    this.#timer.unref();
  }

  #fire(): void {
    const now = performance.now();
    const due = [...this.#entries].filter(([, { at }]) => at <= now).sort(([, a], [, b]) => a.at - b.at);
    for (const [key] of due) this.#entries.delete(key);
    this.#waitForNext();
    for (const [, { run }] of due) run();
  }
}
