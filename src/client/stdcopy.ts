/** Streams of the framing (Engine API, "Stream format"). */
export type StreamName = "stdout" | "stderr";

const HEADER = 8;
// moby's own writer never makes larger frames than its copy buffer; a length above this is not framing.
const MAX_FRAME = 1 << 30;
const MAX_MESSAGE = 1 << 20;

/**
 * Takes apart the 8-byte framing of attach, logs and exec without a tty: byte 0 names the stream (0 and 1 stdout,
 * 2 stderr, 3 an error of the engine), bytes 4 to 7 the payload's length, big endian. Chunks may be cut anywhere;
 * payload is passed on as it arrives, not collected. Throws on anything that is no framing, and with the engine's text
 * for stream 3.
 */
export class Demultiplexer {
  #header = new Uint8Array(HEADER);
  #have = 0;
  #left = 0;
  #stream = 0;
  #message: Uint8Array[] = [];

  /**
   * `onMessage` gets the whole payload of each frame with a stream number from 4 up to 15, which are no framing without
   * it, when all before it has been taken.
   */
  constructor(private readonly onMessage?: (stream: number, payload: Uint8Array) => void) {}

  /** Pieces of payload in order. The arrays are views of `chunk`. */
  *push(chunk: Uint8Array): Generator<{ stream: StreamName; data: Uint8Array }> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        const take = Math.min(HEADER - this.#have, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + take), this.#have);
        this.#have += take;
        at += take;
        if (this.#have < HEADER) return;
        this.#begin();
        continue;
      }
      const data = chunk.subarray(at, at + this.#left);
      at += data.length;
      this.#left -= data.length;
      if (this.#stream >= 3) {
        this.#message.push(data.slice());
        if (this.#left === 0) this.#deliver();
      } else yield { stream: this.#stream === 2 ? "stderr" : "stdout", data };
    }
  }

  /** True between frames: where a stream may end. */
  get complete(): boolean {
    return this.#have === 0 && this.#left === 0;
  }

  /** True when the stream itself has said that it is over; framing without messages never does. */
  get ended(): boolean {
    return false;
  }

  #begin(): void {
    const [stream, a, b, c] = this.#header as unknown as [number, number, number, number];
    if (stream > (this.onMessage ? 15 : 3) || a !== 0 || b !== 0 || c !== 0) {
      throw new Error(`unrecognized stream header ${Buffer.from(this.#header).toString("hex")}`);
    }
    const length = new DataView(this.#header.buffer).getUint32(4);
    if (length > (stream > 3 ? MAX_MESSAGE : MAX_FRAME))
      throw new Error(`stream frame of ${length} bytes is too large`);
    this.#have = 0;
    this.#stream = stream;
    this.#left = length;
    if (stream >= 3 && length === 0) this.#deliver();
  }

  #deliver(): void {
    const payload = Buffer.concat(this.#message.splice(0));
    if (this.#stream === 3) throw new Error(`error from daemon in stream: ${payload}`);
    this.onMessage?.(this.#stream, payload);
  }
}
