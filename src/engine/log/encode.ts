import { formatNanoseconds } from "../clock.ts";
import type { StreamId } from "../requests.ts";

/**
 * Docker's json-file format: `{"log":"text\n","stream":"stdout","attrs":{…},"time":"…"}` a line. A line of output over
 * 16 KiB becomes several records, all but the last without `\n` in `log`, with the time of the first. What is not
 * UTF-8 becomes U+FFFD.
 */

/** Bytes of one record's text at most. */
export const RECORD_TEXT = 16 * 1024;

const OUT_SIZE = 256 * 1024;
const HEAD = Buffer.from('{"log":"');
const NEWLINE = 0x0a;
const HEX = Buffer.from("0123456789abcdef");

// What a byte below 0x80 becomes: 0 itself, 1 a \u00XX escape, else the letter after the backslash. `<`, `>` and `&` are
// escaped as Go's encoder does, so that files read the same everywhere.
const ESCAPE = new Uint8Array(128);
ESCAPE.fill(1, 0, 0x20);
for (const byte of Buffer.from("<>&")) ESCAPE[byte] = 1;
for (const [byte, letter] of [
  [0x0a, "n"],
  [0x0d, "r"],
  [0x22, '"'],
  [0x5c, "\\"],
] as const)
  ESCAPE[byte] = letter.charCodeAt(0);

/** Turns one stream's output into records. Keeps the unfinished last line, up to 16 KiB, until it is finished. */
export class RecordEncoder {
  readonly #pending = Buffer.alloc(RECORD_TEXT);
  #pendingLength = 0;
  /** Time of the next record: seconds, and nanoseconds below. Numbers, since there is one for every line. */
  #second = -1;
  #nano = 0;
  /** The time of a split line's first record, while there is one. */
  #partial: { second: number; nano: number } | undefined;
  readonly #out = Buffer.allocUnsafe(OUT_SIZE);
  #outLength = 0;
  readonly #tail: Buffer;
  readonly #timeAt: number;
  readonly #longest: number;

  /** `attributes` are the labels and variables that LogConfig asks for; written into every record. */
  constructor(stream: StreamId, attributes: Record<string, string> = {}) {
    const attrs = Object.keys(attributes).length > 0 ? `"attrs":${JSON.stringify(attributes)},` : "";
    const before = `","stream":"${stream === 1 ? "stdout" : "stderr"}",${attrs}"time":"`;
    this.#tail = Buffer.from(`${before}${formatNanoseconds(0n)}"}\n`);
    this.#timeAt = Buffer.byteLength(before);
    this.#longest = HEAD.length + RECORD_TEXT * 6 + 2 + this.#tail.length;
  }

  /** Bytes held back because their line is not finished. */
  get pending(): Uint8Array {
    return this.#pending.subarray(0, this.#pendingLength);
  }

  /**
   * Encodes `data`, read at `time` (nanoseconds; each line gets one more). `write` gets whole records in a buffer that is
   * reused afterwards.
   */
  push(data: Uint8Array, time: bigint, write: (records: Uint8Array) => void): void {
    let at = 0;
    this.#setTime(time);
    while (at < data.length) {
      const room = RECORD_TEXT - this.#pendingLength;
      const end = data.indexOf(NEWLINE, at);
      const whole = end !== -1 && end - at < room;
      // A full buffer without a newline is a record of its own, also when the next byte is the newline.
      const stop = whole ? end : Math.min(data.length, at + room);
      if (!whole && stop - at < room) {
        this.#keep(data, at, stop);
        break;
      }
      this.#record(data, at, stop, whole, write);
      at = whole ? stop + 1 : stop;
    }
    this.#flush(write);
  }

  /** The stream ended: what is held back becomes a record without `\n`. */
  end(time: bigint, write: (records: Uint8Array) => void): void {
    if (this.#pendingLength === 0) return;
    this.#setTime(time);
    this.#record(new Uint8Array(0), 0, 0, false, write);
    this.#partial = undefined;
    this.#flush(write);
  }

  #keep(data: Uint8Array, from: number, to: number): void {
    this.#pending.set(data.subarray(from, to), this.#pendingLength);
    this.#pendingLength += to - from;
  }

  #record(data: Uint8Array, from: number, to: number, newline: boolean, write: (b: Uint8Array) => void) {
    if (OUT_SIZE - this.#outLength < this.#longest) this.#flush(write);
    const out = this.#out;
    HEAD.copy(out, this.#outLength);
    let at = this.#outLength + HEAD.length;
    if (this.#pendingLength > 0) {
      // A character may lie across the seam, so the two parts are joined before they are decoded.
      this.#keep(data, from, to);
      at = escapeInto(out, at, this.#pending, 0, this.#pendingLength);
      this.#pendingLength = 0;
    } else {
      at = escapeInto(out, at, data, from, to);
    }
    if (newline) {
      out[at++] = 0x5c;
      out[at++] = 0x6e;
    }
    this.#stamp(newline);
    this.#tail.copy(out, at);
    this.#outLength = at + this.#tail.length;
  }

  #setTime(time: bigint): void {
    this.#second = Number(time / 1_000_000_000n);
    this.#nano = Number(time % 1_000_000_000n);
  }

  #stampedSecond = -1;
  /** Writes the record's time into the tail; the part above the second only when it changed. */
  #stamp(lineEnds: boolean): void {
    const { second, nano } = this.#partial ?? { second: this.#second, nano: this.#nano };
    if (this.#partial === undefined) {
      if (++this.#nano === 1_000_000_000) {
        this.#nano = 0;
        this.#second++;
      }
    }
    this.#partial = lineEnds ? undefined : { second, nano };
    if (second !== this.#stampedSecond) {
      this.#tail.write(formatNanoseconds(BigInt(second) * 1_000_000_000n), this.#timeAt, "latin1");
      this.#stampedSecond = second;
    }
    let rest = nano;
    for (let digit = 28; digit > 19; digit--) {
      const next = (rest / 10) | 0;
      this.#tail[this.#timeAt + digit] = 0x30 + rest - next * 10;
      rest = next;
    }
  }

  #flush(write: (records: Uint8Array) => void): void {
    const length = this.#outLength;
    // Before the write: records that a full disk refused are not tried again.
    this.#outLength = 0;
    if (length > 0) write(this.#out.subarray(0, length));
  }
}

/** Writes data[from..to) as the inside of a JSON string; `out` has six bytes for each. Returns the new end. */
function escapeInto(out: Uint8Array, at: number, data: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; ) {
    const byte = data[i]!;
    if (byte < 0x80) {
      const escaped = ESCAPE[byte]!;
      if (escaped === 0) out[at++] = byte;
      else if (escaped !== 1) {
        out[at++] = 0x5c;
        out[at++] = escaped;
      } else at = hexEscape(out, at, byte);
      i++;
      continue;
    }
    const length = sequenceLength(data, i, to);
    if (length === 0) {
      at = hexEscape(out, at, 0xfffd);
      i++;
      continue;
    }
    // JavaScript readers of JSON trip over U+2028 and U+2029, so they are escaped as Go does.
    if (byte === 0xe2 && data[i + 1] === 0x80 && (data[i + 2]! & 0xfe) === 0xa8) {
      at = hexEscape(out, at, 0x2000 | (data[i + 2]! & 0x3f));
    } else {
      for (let k = 0; k < length; k++) out[at++] = data[i + k]!;
    }
    i += length;
  }
  return at;
}

function hexEscape(out: Uint8Array, at: number, code: number): number {
  out[at] = 0x5c;
  out[at + 1] = 0x75;
  for (let k = 0; k < 4; k++) out[at + 2 + k] = HEX[(code >> (12 - 4 * k)) & 15]!;
  return at + 6;
}

/** Bytes of the well-formed UTF-8 sequence at `i` (Unicode 15, table 3-7), or 0. */
function sequenceLength(data: Uint8Array, i: number, end: number): number {
  const lead = data[i]!;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || i + length > end) return 0;
  const second = data[i + 1]!;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let k = 2; k < length; k++) if ((data[i + k]! & 0xc0) !== 0x80) return 0;
  return length;
}
