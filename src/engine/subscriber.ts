import type { OutputChunk } from "./requests.ts";

/** Bytes that may wait for a client before the process that writes them is held back. */
const HIGH_WATER = 256 * 1024;

/**
 * One client's queue of output: {@link push} by the reader of the process, iteration by the client. A closed one takes
 * nothing and holds nobody back.
 */
export class Subscriber implements AsyncIterable<OutputChunk> {
  readonly #queue: OutputChunk[] = [];
  #queued = 0;
  #ended = false;
  #closed = false;
  #error: unknown;
  #onData: (() => void) | undefined;
  #onRoom: (() => void) | undefined;

  /** `onClose` runs once, when the client is done with it, by close() or by leaving the iteration. */
  constructor(private readonly onClose: () => void) {}

  get closed(): boolean {
    return this.#closed;
  }

  /** Queues a chunk. The promise, if there is one, resolves when the next may come. */
  push(chunk: OutputChunk): Promise<void> | undefined {
    if (this.#closed || this.#ended) return undefined;
    this.#queue.push(chunk);
    this.#queued += chunk.data.length;
    this.#wake();
    if (this.#queued < HIGH_WATER) return undefined;
    return new Promise((resolve) => {
      const before = this.#onRoom;
      this.#onRoom = () => {
        before?.();
        resolve();
      };
    });
  }

  /** No more will come; what is queued is still delivered, then `error` thrown if given. */
  end(error?: unknown): void {
    this.#ended = true;
    this.#error ??= error;
    this.#wake();
  }

  /** The client is gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#queued = 0;
    this.#wake();
    this.makeRoom();
    this.onClose();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const chunk = this.#queue.shift();
        if (chunk !== undefined) {
          this.#queued -= chunk.data.length;
          if (this.#queued < HIGH_WATER) this.makeRoom();
          yield chunk;
        } else if (this.#closed || this.#ended) {
          if (this.#error !== undefined && !this.#closed) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#onData = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }

  #wake(): void {
    this.#onData?.();
    this.#onData = undefined;
  }

  /** Lets the reader go on, however much is queued. */
  makeRoom(): void {
    this.#onRoom?.();
    this.#onRoom = undefined;
  }
}
