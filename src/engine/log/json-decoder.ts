import { parseRfc3339 } from "../clock.ts";
import type { StreamId } from "../requests.ts";
import type { Decoder } from "./format.ts";
import type { Printer } from "./printer.ts";
import { type Instant, instant, TIME_LENGTH } from "./time-text.ts";

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_N = 0x6e;
const LETTER_Z = 0x5a;
const HEAD = Buffer.from('{"log":"');
/** Copying by a call pays off from here on. */
const LONG = 64;

/**
 * Reads json-file records. Those as this engine and docker write them are taken apart where they lie: all around the
 * text is the same from record to record but for the time. Any other JSON is parsed.
 */
export class JsonDecoder implements Decoder {
  /** What lies between text and time in a stream's records: `","stream":"stdout","time":"`. */
  readonly #middles = { 1: middle("stdout", ""), 2: middle("stderr", "") };
  #attrs = "";
  readonly #time = new TimeReader();

  constructor(private readonly printer: Printer) {}

  begin(): void {}

  push(data: Buffer, length: number): number {
    let at = 0;
    while (!this.printer.done) {
      const end = data.indexOf(NEWLINE, at);
      if (end === -1 || end >= length) break;
      if (!this.#record(data, at, end)) this.#foreign(data.toString("utf8", at, end));
      at = end + 1;
    }
    return at;
  }

  end(): void {}

  /** data[from..end) as one of ours; false for what does not look like one. */
  #record(data: Buffer, from: number, end: number): boolean {
    // Ours always have nine digits in the time; docker leaves zeros at the end out.
    let timeAt = end - 2 - TIME_LENGTH;
    if (data[timeAt - 1] !== QUOTE) timeAt = data.lastIndexOf(QUOTE, end - 3) + 1;
    if (timeAt <= from || !startsWith(data, from, HEAD)) return false;
    const text = from + HEAD.length;
    const stream = this.#streamOf(data, text, timeAt);
    if (stream === undefined) return false;
    const time = this.#time.read(data, timeAt, end - 2);
    if (time === undefined) return false;
    const quote = timeAt - this.#middles[stream].length;
    const ends = endsLine(data, text, quote);
    const { printer } = this;
    if (!printer.wants(stream, time, ends)) return true;
    const at = printer.open(stream, time, quote - text);
    const stop = unescapeInto(data, text, quote, printer.buffer, at);
    // A pair of surrogates, say.
    if (stop < 0) return false;
    printer.close(stream, ends, stop);
    return true;
  }

  #streamOf(data: Buffer, text: number, timeAt: number): StreamId | undefined {
    for (const stream of [1, 2] as const) {
      const expected = this.#middles[stream];
      const at = timeAt - expected.length;
      if (at >= text && startsWith(data, at, expected)) return stream;
    }
    return undefined;
  }

  #foreign(line: string): void {
    const record = parseRecord(line);
    if (!record) return;
    const { printer } = this;
    const { stream, text, time, attributes } = record;
    const attrs = Object.keys(attributes).length === 0 ? "" : (/"attrs":\{.*\},(?="time":)/s.exec(line)?.[0] ?? "");
    if (attrs !== this.#attrs) {
      this.#attrs = attrs;
      this.#middles[1] = middle("stdout", attrs);
      this.#middles[2] = middle("stderr", attrs);
    }
    printer.attributes = attributes;
    const ends = text.endsWith("\n");
    if (!printer.wants(stream, time, ends)) return;
    const bytes = Buffer.from(text);
    const at = printer.open(stream, time, bytes.length);
    printer.close(stream, ends, at + bytes.copy(printer.buffer, at));
  }
}

const middle = (stream: string, attrs: string) => Buffer.from(`","stream":"${stream}",${attrs}"time":"`);

function startsWith(data: Buffer, at: number, expected: Buffer): boolean {
  const { length } = expected;
  if (length > LONG) return data.compare(expected, 0, length, at, at + length) === 0;
  // From the end, where the streams differ soonest.
  for (let i = length - 1; i >= 0; i--) if (data[at + i] !== expected[i]) return false;
  return true;
}

/** Whether the text ends in `\n`: a backslash that is not itself escaped, and the letter. */
function endsLine(data: Buffer, text: number, quote: number): boolean {
  if (data[quote - 1] !== LETTER_N) return false;
  let at = quote - 2;
  while (at >= text && data[at] === BACKSLASH) at--;
  return (quote - 2 - at) % 2 === 1;
}

/** The bytes of a JSON string's inside, written to `out` from `at` on: the new end, or -1 for what must be parsed. */
function unescapeInto(data: Buffer, from: number, to: number, out: Buffer, at: number): number {
  let i = from;
  if (to - from > LONG) {
    const found = data.indexOf(BACKSLASH, from);
    const plain = found === -1 || found > to ? to : found;
    at += data.copy(out, at, from, plain);
    i = plain;
  }
  while (i < to) {
    const byte = data[i++]!;
    if (byte !== BACKSLASH) {
      out[at++] = byte;
      continue;
    }
    const letter = data[i++]!;
    const plain = UNESCAPE[letter]!;
    if (plain !== 0) out[at++] = plain;
    else {
      const code = letter === 0x75 ? Number.parseInt(data.toString("latin1", i, i + 4), 16) : Number.NaN;
      if (Number.isNaN(code) || (code >= 0xd800 && code < 0xe000)) return -1;
      i += 4;
      at = utf8(code, out, at);
    }
  }
  return at;
}

const UNESCAPE = new Uint8Array(256);
for (const [letter, byte] of [
  ['"', 0x22],
  ["\\", 0x5c],
  ["/", 0x2f],
  ["b", 0x08],
  ["f", 0x0c],
  ["n", 0x0a],
  ["r", 0x0d],
  ["t", 0x09],
] as const)
  UNESCAPE[letter.charCodeAt(0)] = byte;

function utf8(code: number, out: Buffer, at: number): number {
  if (code < 0x80) out[at++] = code;
  else if (code < 0x800) {
    out[at++] = 0xc0 | (code >> 6);
    out[at++] = 0x80 | (code & 0x3f);
  } else {
    out[at++] = 0xe0 | (code >> 12);
    out[at++] = 0x80 | ((code >> 6) & 0x3f);
    out[at++] = 0x80 | (code & 0x3f);
  }
  return at;
}

/** Reads times in RFC 3339, most of which share their second with the one before. */
class TimeReader {
  /** `2026-01-02T15:04:05` as it was last. */
  readonly #text = Buffer.alloc(19);
  readonly #time: Instant = { second: 0, nano: 0 };

  /** The object is the same every time. */
  read(data: Buffer, from: number, to: number): Instant | undefined {
    if (to - from !== TIME_LENGTH || data[to - 1] !== LETTER_Z || !startsWith(data, from, this.#text)) {
      return this.#parse(data, from, to);
    }
    let nano = 0;
    for (let i = from + 20; i < to - 1; i++) nano = nano * 10 + (data[i]! - 0x30);
    this.#time.nano = nano;
    return nano >= 0 && nano < 1e9 ? this.#time : undefined;
  }

  #parse(data: Buffer, from: number, to: number): Instant | undefined {
    const time = to - from <= 2 * TIME_LENGTH ? parseRfc3339(data.toString("latin1", from, to)) : undefined;
    if (time === undefined) return undefined;
    Object.assign(this.#time, instant(time));
    if (data[to - 1] === LETTER_Z) data.copy(this.#text, 0, from, from + this.#text.length);
    return this.#time;
  }
}

export interface JsonRecord {
  stream: StreamId;
  text: string;
  time: Instant;
  attributes: Record<string, string>;
}

/** Undefined for what is no record: a torn write, or someone else's line. */
export function parseRecord(line: string): JsonRecord | undefined {
  try {
    const { log, stream, time, attrs } = JSON.parse(line) as Record<string, unknown>;
    const at = typeof time === "string" ? parseRfc3339(time) : undefined;
    if (typeof log !== "string" || at === undefined) return undefined;
    const attributes = typeof attrs === "object" && attrs !== null ? Object.entries(attrs) : [];
    return {
      stream: stream === "stderr" ? 2 : 1,
      text: log,
      time: instant(at),
      attributes: Object.fromEntries(attributes.filter(([, value]) => typeof value === "string")),
    };
  } catch {
    return undefined;
  }
}
