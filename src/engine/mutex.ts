/** Runs asynchronous steps one after the other, in the order asked. One that throws does not stop the next. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Steps running or queued. */
  get pending(): number {
    return this.#waiting;
  }

  /** Resolves or rejects as `step` does, once those before it have ended. Not reentrant: a step must not wait for its own mutex. */
  run<T>(step: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const result = this.#last.then(step).finally(() => this.#waiting--);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
