import type { OutputChunk, StreamId } from "../requests.ts";
import { goJson } from "./attributes.ts";
import type { Encoder, Output } from "./format.ts";
import { escapeInto } from "./json-escape.ts";
import { LineSplitter, LONGEST_PIECE } from "./line-splitter.ts";
import { type Instant, instant, TIME_LENGTH, TimeText, tick } from "./time-text.ts";

/**
 * Docker's json-file format: `{"log":"text\n","stream":"stdout","attrs":{…},"time":"…"}` a line. A line of output over
 * 16 KiB becomes several records, all but the last without `\n` in `log`, with the time of the first. What is not
 * UTF-8 becomes U+FFFD.
 */
export class JsonEncoder implements Encoder {
  readonly #streams = { 1: new RecordEncoder(1), 2: new RecordEncoder(2) };

  setAttributes(attributes: Record<string, string>): void {
    const attrs = Object.keys(attributes).length > 0 ? `"attrs":${goJson(attributes)},` : "";
    this.#streams[1].setAttributes(attrs);
    this.#streams[2].setAttributes(attrs);
  }

  push(stream: StreamId, data: Uint8Array, time: bigint, output: Output): void {
    this.#streams[stream].push(data, time, output);
  }

  end(time: bigint, output: Output): void {
    this.#streams[1].end(time, output);
    this.#streams[2].end(time, output);
  }

  get held(): number {
    return this.#streams[1].held + this.#streams[2].held;
  }

  resume(pending: readonly OutputChunk[]): void {
    for (const { stream, data } of pending) this.#streams[stream].hold(data);
  }

  pending(): OutputChunk[] {
    return ([1, 2] as const).flatMap((stream) => {
      const data = this.#streams[stream].pending;
      return data.length > 0 ? [{ stream, data: Uint8Array.from(data) }] : [];
    });
  }
}

const HEAD = Buffer.from('{"log":"');
const NEWLINE = 0x0a;
/** Records on their way out, of whoever encodes: it is empty between calls. */
const out = Buffer.allocUnsafeSlow(256 * 1024);

/** One stream's records. */
class RecordEncoder {
  readonly #lines = new LineSplitter();
  /** Time of the next record. */
  #now: Instant = { second: 0, nano: 0 };
  /** The time of a split line's first record, while there is one. */
  #partial: Instant | undefined;
  #length = 0;
  #tail = Buffer.alloc(0);
  #time = new TimeText();
  #longest = 0;
  #output: Output | undefined;

  constructor(private readonly stream: StreamId) {
    this.setAttributes("");
  }

  setAttributes(attrs: string): void {
    const before = `","stream":"${this.stream === 1 ? "stdout" : "stderr"}",${attrs}"time":"`;
    this.#tail = Buffer.from(`${before}${" ".repeat(TIME_LENGTH)}"}\n`);
    const at = Buffer.byteLength(before);
    this.#time = new TimeText(this.#tail.subarray(at, at + TIME_LENGTH));
    this.#longest = HEAD.length + LONGEST_PIECE * 6 + 2 + this.#tail.length;
  }

  get pending(): Uint8Array {
    return this.#lines.pending;
  }

  get held(): number {
    return this.#lines.held;
  }

  /** The beginning of the next line. */
  hold(data: Uint8Array): void {
    this.#lines.push(data, () => {});
  }

  push(data: Uint8Array, time: bigint, output: Output): void {
    this.#begin(time, output);
    this.#lines.push(data, this.#record);
    this.#flush();
  }

  /** What is held back becomes a record without `\n`. */
  end(time: bigint, output: Output): void {
    this.#begin(time, output);
    this.#lines.end(this.#record);
    this.#partial = undefined;
    this.#flush();
  }

  #begin(time: bigint, output: Output): void {
    this.#now = instant(time);
    this.#output = output;
    // A write that failed may have left something.
    this.#length = 0;
  }

  readonly #record = (data: Uint8Array, from: number, to: number, ends: boolean): void => {
    if (out.length - this.#length < this.#longest) this.#flush();
    HEAD.copy(out, this.#length);
    let at = escapeInto(out, this.#length + HEAD.length, data, from, to);
    if (ends) {
      out[at++] = 0x5c;
      out[at++] = 0x6e;
    }
    const time = this.#partial ?? this.#next();
    this.#partial = ends ? undefined : { ...time };
    this.#time.set(time.second, time.nano);
    this.#tail.copy(out, at);
    this.#length = at + this.#tail.length;
  };

  /** Each line gets a nanosecond more. None ends in 0: Go would leave that digit out, and the length is always the same. */
  #next(): Instant {
    const now = this.#now;
    do tick(now);
    while (now.nano % 10 === 0);
    return now;
  }

  #flush(): void {
    const end = this.#length;
    this.#length = 0;
    const output = this.#output!;
    for (let at = 0; at < end; ) {
      // The record that reaches the bound is the last of its file.
      const stop = end - at <= output.room ? end : out.indexOf(NEWLINE, at + Math.max(output.room - 1, 0)) + 1;
      output.append(out.subarray(at, stop));
      at = stop;
    }
  }
}
