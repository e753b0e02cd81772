/** Bytes that wait for a slow reader before who sends them is made to wait. */
const MOST_HELD = 4 << 20;

/** A stream of bytes that comes in pieces, and is read by one reader. */
export class Incoming {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #state: "open" | "ended" | Error = "open";
  #wake = () => {};
  #room = () => {};

  /** Resolves when more may come. What comes behind the end, or when nobody reads any more, is dropped. */
  async push(chunk: Uint8Array): Promise<void> {
    if (this.#state !== "open") return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.#wake();
    if (this.#size < MOST_HELD) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
  }

  end(): void {
    if (this.#state === "open") this.#state = "ended";
    this.#wake();
  }

  /** The reader gets the error behind what has come. */
  fail(error: Error): void {
    if (this.#state === "open") this.#state = error;
    this.#wake();
    this.#room();
  }

  /** To the end; `over` is called when nothing more is read. */
  async *read(over?: () => void): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk) {
          this.#size -= chunk.length;
          if (this.#size < MOST_HELD) this.#room();
          yield chunk;
        } else if (this.#state === "ended") return;
        else if (this.#state !== "open") throw this.#state;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      over?.();
      this.fail(new Error("nobody reads this any more"));
    }
  }
}
