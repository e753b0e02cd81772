import type { StreamId } from "../requests.ts";
import { type Instant, later, TIME_LENGTH, TimeText } from "./time-text.ts";

/** Bytes of a frame's header (Engine API, "Stream format"): the stream, three zeros, the payload's length. */
export const FRAME_HEADER = 8;
const BATCH = 128 * 1024;
const SPACE = 0x20;

export interface PrintOptions {
  stdout: boolean;
  stderr: boolean;
  timestamps: boolean;
  details: boolean;
  /** A frame header before each line, for who has to tell the streams apart. */
  framed: boolean;
  since?: Instant | undefined;
  until?: Instant | undefined;
}

/**
 * Puts lines together as a client wants to see them, many in one buffer. The text is written into {@link buffer} between
 * {@link open} and {@link close}. Full buffers wait in {@link take}, and belong to who took them.
 */
export class Printer {
  buffer: Buffer = Buffer.alloc(0);
  /** A line later than `until` came: nothing more is wanted. */
  done = false;
  /** Whether the last piece of a stream's lines was not the end of its line. */
  readonly #continued: Record<StreamId, boolean> = { 1: false, 2: false };
  readonly #time = new TimeText();
  #attributes: Record<string, string> = {};
  #details: Buffer | undefined;
  #start = 0;
  #at = 0;
  #full: Buffer[] = [];

  constructor(readonly options: PrintOptions) {}

  /** What `details` shows from now on. */
  set attributes(attributes: Record<string, string>) {
    this.#attributes = attributes;
    this.#details = undefined;
  }

  /** Whether a piece of this stream and time is to be printed; of one that is not, `ends` says whether the line does. */
  wants(stream: StreamId, time: Instant, ends: boolean): boolean {
    const { since, until } = this.options;
    if (until && later(time, until)) this.done = true;
    else if (!(since && later(since, time)) && (stream === 1 ? this.options.stdout : this.options.stderr)) return true;
    this.#continued[stream] = !ends;
    return false;
  }

  /** Begins a piece of at most `length` bytes: where in the buffer its text goes. */
  open(stream: StreamId, time: Instant, length: number): number {
    const { framed, timestamps, details } = this.options;
    const before = details && !this.#continued[stream] ? this.#prefix() : undefined;
    const most = FRAME_HEADER + TIME_LENGTH + 1 + (before?.length ?? 0) + length;
    if (this.buffer.length - this.#at < most) this.#renew(most);
    const { buffer } = this;
    this.#start = this.#at;
    let at = this.#at;
    if (framed) {
      buffer[at] = stream;
      buffer[at + 1] = buffer[at + 2] = buffer[at + 3] = 0;
      at += FRAME_HEADER;
    }
    if (timestamps && !this.#continued[stream]) {
      this.#time.set(time.second, time.nano);
      at += this.#time.bytes.copy(buffer, at);
      buffer[at++] = SPACE;
    }
    if (before) at += before.copy(buffer, at);
    return at;
  }

  /** Ends the piece; `at` is behind its last byte. */
  close(stream: StreamId, ends: boolean, at: number): void {
    this.#continued[stream] = !ends;
    if (this.options.framed) {
      const length = at - this.#start - FRAME_HEADER;
      const field = this.#start + 4;
      this.buffer[field] = length >>> 24;
      this.buffer[field + 1] = length >>> 16;
      this.buffer[field + 2] = length >>> 8;
      this.buffer[field + 3] = length;
    }
    this.#at = at;
  }

  #prefix(): Buffer {
    this.#details ??= detailsOf(this.#attributes);
    return this.#details;
  }

  /** What was printed since the last call. */
  take(): Buffer[] {
    this.#cut();
    return this.#full.splice(0);
  }

  #cut(): void {
    if (this.#at === 0) return;
    this.#full.push(this.buffer.subarray(0, this.#at));
    // The rest of the buffer is as good as new.
    this.buffer = this.buffer.subarray(this.#at);
    this.#at = 0;
  }

  #renew(length: number): void {
    this.#cut();
    this.buffer = Buffer.allocUnsafeSlow(Math.max(BATCH, length));
  }
}

/** Docker's notation: a query string whose parts are joined by commas. */
function detailsOf(attributes: Record<string, string>): Buffer {
  const text = Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${queryEscape(key)}=${queryEscape(value)}`)
    .join(",");
  return Buffer.from(`${text} `);
}

/** Go's url.QueryEscape. */
function queryEscape(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}
