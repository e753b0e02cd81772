import { Duplex } from "node:stream";
import { invalid } from "../../base/errors.ts";
import type { Call, Reply } from "../call.ts";

/** Throws invalid for a request that does not upgrade its connection to HTTP/2. */
export function mustBeH2c(call: Call): void {
  const { upgrade } = call.request.headers;
  if (!call.upgrade || String(upgrade).toLowerCase() !== "h2c") {
    throw invalid("no upgrade in request: what follows is HTTP/2 without TLS (h2c)");
  }
}

/** A hijacked connection as a stream: what HTTP/2 writes goes out, what comes in it reads. */
export class H2cConnection {
  readonly far: Duplex;
  readonly #out: { chunk: Buffer; done: () => void }[] = [];
  #wake = () => {};
  #room = () => {};
  #closed = false;
  onClose = () => {};

  constructor() {
    this.far = new Duplex({
      read: () => this.#room(),
      write: (chunk: Buffer, _, done) => {
        this.#out.push({ chunk, done });
        this.#wake();
      },
      final: (done) => {
        this.close();
        done();
      },
      destroy: (error, done) => {
        this.close();
        done(error);
      },
    });
    this.far.on("error", () => this.close());
  }

  /** The answer that gives the client's connection to it. */
  hijack(): Reply {
    return {
      hijack: {
        type: "",
        protocol: { name: "h2c", headers: {} },
        output: this.output(),
        input: (data) => this.input(data),
        endInput: async () => this.endInput(),
        close: () => this.close(),
      },
    };
  }

  async *output(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#out.shift();
      if (next) {
        yield next.chunk;
        next.done();
      } else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async input(data: Uint8Array): Promise<void> {
    if (this.#closed || this.far.push(Buffer.from(data))) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
      if (this.#closed) resolve();
    });
  }

  endInput(): void {
    if (!this.#closed) this.far.push(null);
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    this.#room();
    for (const { done } of this.#out) done();
    this.onClose();
  }
}
