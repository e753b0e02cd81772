import type { Writable } from "node:stream";

/** The client's leaving. Most calls never ask for the signal, which is dear. */
export class Departure {
  happened = false;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController();
      this.#controller = controller;
      // Who asks for it after the client has gone listens first, and must hear of it all the same.
      if (this.happened) queueMicrotask(() => controller.abort());
    }
    return this.#controller.signal;
  }

  happen(): void {
    if (this.happened) return;
    this.happened = true;
    this.#controller?.abort();
  }
}

/** Resolves when more may be written to a stream that is full, or never will be. */
export function room(stream: Writable): Promise<void> {
  if (stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}
