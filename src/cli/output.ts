import { codeOf } from "../base/errors.ts";

/** Thrown when the reader of stdout has gone: the command ends without a word, as SIGPIPE would end it. */
export class BrokenPipe extends Error {}

/**
 * Standard output or error, with back-pressure: a write resolves when the kernel has the bytes, so that nothing is
 * lost at exit and a slow reader slows the source down.
 */
export class Output {
  #writer: Bun.FileSink | undefined;
  #tail: Promise<void> = Promise.resolve();
  #failed: Error | undefined;

  constructor(readonly fd: 1 | 2) {}

  write(data: Uint8Array | string): Promise<void> {
    // Writers of both streams of one container may overlap on the same descriptor: one at a time, in order.
    const turn = this.#tail.then(() => this.#write(data));
    this.#tail = turn.catch(() => {});
    return turn;
  }

  /** A line of text. */
  line(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }

  async #write(data: Uint8Array | string): Promise<void> {
    if (this.#failed) throw this.#failed;
    if (data.length === 0) return;
    try {
      // process.stdout costs 12 ms of a cold start, and Bun.write leaves a hole in a file opened for appending.
      this.#writer ??= (this.fd === 1 ? Bun.stdout : Bun.stderr).writer();
      const writing = this.#writer.write(data) as number | Promise<number>;
      if (typeof writing !== "number") await writing;
      const flushing = this.#writer.flush() as number | Promise<number>;
      if (typeof flushing !== "number") await flushing;
    } catch (error) {
      this.#failed = codeOf(error) === "EPIPE" ? new BrokenPipe("write: EPIPE") : (error as Error);
      throw this.#failed;
    }
  }
}

export const stdout = new Output(1);
export const stderr = new Output(2);
