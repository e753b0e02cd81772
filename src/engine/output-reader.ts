import { readable } from "./readable.ts";

/**
 * Reads one of the engine's pipe or pty ends until it ends, one chunk at a time: the next is read when `sink` is done
 * with the last, so a slow sink fills the pipe and holds the writer back. The descriptor stays the caller's.
 */
export class OutputReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #done: Promise<void>;
  #idle = false;
  #reads = 0;
  #stopped = false;

  constructor(
    private readonly fd: number,
    private readonly sink: (data: Uint8Array) => Promise<void> | undefined,
  ) {
    // Bun reads from a duplicate on its event loop, at most some 256 KiB ahead.
    this.#reader = Bun.file(fd).stream().getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#idle = true;
      this.#reads++;
      let chunk: { done: boolean; value?: Uint8Array | undefined };
      try {
        chunk = (await this.#reader.read()) as typeof chunk;
      } catch {
        // A pty ends with EIO when the last process has closed it.
        return;
      }
      this.#idle = false;
      if (chunk.done || this.#stopped) return;
      if (chunk.value && chunk.value.length > 0) await this.sink(chunk.value);
    }
  }

  /**
   * After the process ended: resolves when everything that it wrote has gone through the sink. Others may hold the
   * other end for longer (a daemon it left behind), so the end of file is not waited for: empty is enough.
   */
  async drain(): Promise<void> {
    let ended = false;
    const done = this.#done.then(() => {
      ended = true;
    });
    while (!ended) {
      const read = this.#reads;
      // The loop turns once more: what Bun had read by now has been delivered.
      await Promise.race([done, new Promise((resolve) => setImmediate(resolve))]);
      if (ended) break;
      if (this.#idle && read === this.#reads && !readable(this.fd)) break;
      if (!this.#idle) await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 1))]);
    }
    await this.stop();
  }

  /** Stops reading; what is in the pipe stays there. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reader.cancel().catch(() => undefined);
    await this.#done;
  }
}
