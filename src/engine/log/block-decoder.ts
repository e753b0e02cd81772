import type { StreamId } from "../requests.ts";
import { ATTRIBUTES, blockEnd, type Entry, parseAttributes, readEntry } from "./blocks.ts";
import type { Decoder } from "./format.ts";
import { LineSplitter } from "./line-splitter.ts";
import type { Printer } from "./printer.ts";
import { type Instant, instant, tick } from "./time-text.ts";

const NEWLINE = 0x0a;

/** Finds the lines in entries, and prints them. */
export class BlockDecoder implements Decoder {
  /** Of the next byte in the file. */
  #position = 0;
  #skip = 0;
  /** Of the entry at hand: one more nanosecond a line. */
  #time: Instant = { second: 0, nano: 0 };
  readonly #streams: Record<StreamId, Lines>;

  constructor(private readonly printer: Printer) {
    this.#streams = { 1: new Lines(1, printer), 2: new Lines(2, printer) };
  }

  begin(offset: number, skip: number): void {
    this.#position = offset;
    this.#skip = skip;
  }

  push(data: Buffer, length: number): number {
    const start = this.#position;
    let at = 0;
    while (at < length && !this.printer.done) {
      const full = blockEnd(start + at) - start;
      const end = Math.min(length, full);
      const entry = readEntry(data, at, end, full);
      if (entry === "more") break;
      if (entry === undefined) {
        // The rest of the block: padding, or what is no entry.
        if (full > length) break;
        at = full;
        continue;
      }
      this.#entry(data, entry, start);
      at = entry.to;
    }
    this.#position = start + at;
    return at;
  }

  end(): void {
    for (const lines of [this.#streams[1], this.#streams[2]]) lines.end();
  }

  #entry(data: Buffer, { stream, continues, time, from, to }: Entry, start: number): void {
    if (stream === ATTRIBUTES) {
      this.printer.attributes = parseAttributes(data.toString("utf8", from, to));
      return;
    }
    const lines = this.#streams[stream];
    lines.begin(continues);
    this.#time = instant(time);
    let at = from;
    // Lines that end before what is wanted. They count for the times of those that come after.
    while (start + at <= this.#skip) {
      const end = data.indexOf(NEWLINE, at);
      if (end === -1 || end >= to || start + end > this.#skip) break;
      at = end + 1;
      lines.drop();
      tick(this.#time);
    }
    if (at < to) lines.push(data.subarray(at, to), this.#time);
  }
}

/** One stream's lines. */
class Lines {
  readonly #splitter = new LineSplitter();
  #time: Instant = { second: 0, nano: 0 };
  /** Of a line that is printed in pieces: the first one's. */
  #first: Instant | undefined;
  /** In the middle of a line, of which the bytes so far were seen. */
  #middle = false;
  /** In the middle of one whose beginning was not. */
  #passing = false;

  constructor(
    private readonly stream: StreamId,
    private readonly printer: Printer,
  ) {}

  /** An entry comes. */
  begin(continues: boolean): void {
    if (continues) this.#passing ||= !this.#middle;
    else {
      this.end();
      this.#passing = false;
    }
  }

  /** A line ended unseen. */
  drop(): void {
    this.#passing = this.#middle = false;
    this.#splitter.end(() => {});
    this.#first = undefined;
  }

  push(data: Uint8Array, time: Instant): void {
    let rest = data;
    if (this.#passing) {
      const end = rest.indexOf(NEWLINE);
      if (end === -1) return;
      rest = rest.subarray(end + 1);
      this.#passing = false;
      tick(time);
    }
    this.#time = time;
    this.#splitter.push(rest, this.#piece);
    this.#middle = data.at(-1) !== NEWLINE;
  }

  end(): void {
    this.#splitter.end(this.#piece);
    this.#first = undefined;
    this.#middle = false;
  }

  readonly #piece = (data: Uint8Array, from: number, to: number, ends: boolean): void => {
    const { printer, stream } = this;
    const time = this.#first ?? this.#time;
    if (printer.wants(stream, time, ends)) {
      let at = printer.open(stream, time, to - from + 1);
      at = copy(data, from, to, printer.buffer, at);
      if (ends) printer.buffer[at++] = NEWLINE;
      printer.close(stream, ends, at);
    }
    if (ends) {
      this.#first = undefined;
      tick(this.#time);
    } else this.#first ??= { ...time };
  };
}

/** Short lines cost less in a loop than in a call. */
const SHORT = 48;

function copy(data: Uint8Array, from: number, to: number, out: Buffer, at: number): number {
  if (to - from > SHORT) {
    out.set(data.subarray(from, to), at);
    return at + to - from;
  }
  for (let i = from; i < to; i++) out[at++] = data[i]!;
  return at;
}
