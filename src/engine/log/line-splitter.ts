/** A line is kept together up to so many bytes, as docker's loggers do; the rest of it comes in further pieces. */
export const LONGEST_PIECE = 16 * 1024;

const NEWLINE = 0x0a;

/** Gets `data[from..to)`, without the newline; `ends` tells whether one follows. The bytes are not to be kept. */
export type OnPiece = (data: Uint8Array, from: number, to: number, ends: boolean) => void;

/** Cuts one stream's output into lines, however it arrives. Keeps the unfinished last one until it is finished. */
export class LineSplitter {
  #held: Uint8Array | undefined;
  #length = 0;

  /** Bytes held back because their line is not finished. */
  get pending(): Uint8Array {
    return this.#held?.subarray(0, this.#length) ?? new Uint8Array(0);
  }

  get held(): number {
    return this.#length;
  }

  push(data: Uint8Array, onPiece: OnPiece): void {
    for (let at = 0; at < data.length; ) {
      const room = LONGEST_PIECE - this.#length;
      const end = data.indexOf(NEWLINE, at);
      const whole = end !== -1 && end - at < room;
      // What fills the bound without a newline is a piece of its own, also when the next byte is the newline.
      const stop = whole ? end : Math.min(data.length, at + room);
      if (!whole && stop - at < room) {
        this.#hold(data, at, stop);
        return;
      }
      if (this.#length === 0) onPiece(data, at, stop, whole);
      else {
        this.#hold(data, at, stop);
        const length = this.#length;
        this.#length = 0;
        onPiece(this.#held!, 0, length, whole);
      }
      at = whole ? stop + 1 : stop;
    }
  }

  /** The stream ended: what is held back is the last piece. */
  end(onPiece: OnPiece): void {
    const length = this.#length;
    this.#length = 0;
    if (length > 0) onPiece(this.#held!, 0, length, false);
  }

  #hold(data: Uint8Array, from: number, to: number): void {
    this.#held ??= new Uint8Array(LONGEST_PIECE);
    this.#held.set(data.subarray(from, to), this.#length);
    this.#length += to - from;
  }
}
