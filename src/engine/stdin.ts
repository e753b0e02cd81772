import { trySys } from "../linux/call.ts";
import { addressOf } from "../linux/ffi.ts";

const EAGAIN = -11;
const LONGEST_PAUSE_MS = 50;

/**
 * Writes a process's stdin, a non-blocking pipe or pty end. Writes are queued one after the other; each resolves when
 * the kernel has taken its bytes, so a process that does not read holds its client back. A process that has gone or
 * closed its stdin drops them quietly, as docker does.
 */
export class StdinWriter {
  #last: Promise<void> = Promise.resolve();
  #ended = false;

  /** `close` closes the descriptor. A pty has none: it carries the output too. */
  constructor(
    private readonly fd: number,
    private readonly close?: () => void,
  ) {}

  get ended(): boolean {
    return this.#ended;
  }

  write(data: Uint8Array): Promise<void> {
    this.#last = this.#last.then(() => this.#writeAll(data));
    return this.#last;
  }

  async #writeAll(data: Uint8Array): Promise<void> {
    let pause = 0;
    for (let done = 0; done < data.length && !this.#ended; ) {
      const n = trySys("write", this.fd, addressOf(data) + done, data.length - done);
      if (n > 0) {
        done += n;
        pause = 0;
      } else if (n === EAGAIN) {
        // Nothing tells when a foreign pipe can be written again, so it is asked: at once first, then ever more rarely.
        await (pause === 0 ? new Promise((resolve) => setImmediate(resolve)) : Bun.sleep(pause));
        pause = Math.min(pause === 0 ? 1 : pause * 2, LONGEST_PAUSE_MS);
      } else {
        this.#ended = true;
      }
    }
  }

  /** After what is queued: the process reads end of file. Idempotent. */
  end(): Promise<void> {
    this.#last = this.#last.then(() => this.destroy());
    return this.#last;
  }

  /** At once; what is queued is dropped. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended = true;
    this.close?.();
  }
  #closed = false;
}
