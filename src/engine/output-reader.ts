import { peek, skip } from "./peek.ts";
import { readable } from "./readable.ts";

/** A pipe holds no more (PIPE_SIZE in runtime/). */
const MOST_WAITING = 1 << 20;

/** Looks at an empty pipe, some 2 ms apart. */
const QUIET_LOOKS = 10;

/**
 * Reads one of the engine's pipe or pty ends until it ends, one chunk at a time: the next is read when `sink` is done
 * with the last, so a slow sink fills the pipe and holds the writer back. The descriptor stays the caller's.
 */
export class OutputReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #done: Promise<void>;
  #idle = false;
  #next: Promise<unknown> | undefined;
  #reads = 0;
  #stopped = false;

  constructor(
    private readonly fd: number,
    private readonly sink: (data: Uint8Array) => Promise<void> | undefined,
  ) {
    this.#takeWaiting();
    // Bun reads from a duplicate on its event loop, at most some 256 KiB ahead.
    this.#reader = Bun.file(fd).stream().getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#done = this.#run();
  }

  /**
   * What is there already goes through the sink here and now, and leaves the pipe only after that: Bun would take it out
   * first and hand it over some time later, and an engine that is killed in between would have lost it for good.
   */
  #takeWaiting(): void {
    for (let taken = 0; taken < MOST_WAITING; ) {
      const data = peek(this.fd);
      if (data.length === 0) return;
      taken += data.length;
      void this.sink(data);
      // The same bytes once more; a pipe has one reader.
      skip(this.fd, data.length);
    }
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#idle = true;
      this.#reads++;
      let chunk: { done: boolean; value?: Uint8Array | undefined };
      try {
        const next = this.#reader.read();
        this.#next = next;
        if (this.#stopped) this.#cancelIfIdle();
        chunk = (await next) as typeof chunk;
      } catch {
        // A pty ends with EIO when the last process has closed it.
        return;
      }
      this.#idle = false;
      if (chunk.done) return;
      if (chunk.value && chunk.value.length > 0) await this.sink(chunk.value);
    }
  }

  /**
   * After the process ended: resolves when everything that it wrote has gone through the sink. As a rule that is the end
   * of file. Others may hold the other end for longer (a daemon it left behind): then a pipe that stays empty is enough,
   * but not at first sight, for what Bun has taken out of it may still be on its way here.
   */
  async drain(): Promise<void> {
    let ended = false;
    const done = this.#done.then(() => {
      ended = true;
    });
    for (let quiet = 0; !ended && quiet < QUIET_LOOKS; ) {
      const read = this.#reads;
      const pause = new Promise((resolve) => (quiet === 0 ? setImmediate(resolve) : setTimeout(resolve, 2)));
      await Promise.race([done, pause]);
      quiet = this.#idle && read === this.#reads && !readable(this.fd) ? quiet + 1 : 0;
    }
    await this.stop();
  }

  /** Stops reading; what is in the pipe stays there, and what Bun has taken out of it goes through the sink. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelIfIdle();
    await this.#done;
  }

  /** A read that has to wait says that nothing was read ahead, so from here on what is in the pipe stays there. */
  #cancelIfIdle(): void {
    if (this.#idle && Bun.peek.status(this.#next) === "pending") void this.#reader.cancel().catch(() => undefined);
  }
}
