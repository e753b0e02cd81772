import fs from "node:fs";
import type { LogFormat, Tail } from "./format.ts";
import { JsonDecoder, parseRecord } from "./json-decoder.ts";
import { JsonEncoder } from "./json-encoder.ts";
import type { Source } from "./source.ts";
import { type Instant, later } from "./time-text.ts";

const NEWLINE = 0x0a;
const BLOCK = 64 * 1024;
/** Longer than a record's end, from its text to its newline. */
const OVERLAP = 1024;
/** A record is at most so long, but for what is none. */
const LONGEST = 128 * 1024;

/** Docker's json-file; json-encoder.ts has what is in them. */
export const jsonFormat: LogFormat = {
  compressed: ".gz",
  encoder: () => new JsonEncoder(),
  decoder: (printer) => new JsonDecoder(printer),
  tail,
  seek,
  firstTime: async (source) => (await recordAfter(source, Buffer.allocUnsafe(LONGEST * 2), 0))?.time,
  whole,
};

async function tail(source: Source, lines: number, newest: boolean): Promise<Tail> {
  const buffer = Buffer.allocUnsafe(OVERLAP + BLOCK);
  let left = lines;
  let last = newest;
  for (let end = await source.size(); end > 0; ) {
    const start = Math.max(0, end - BLOCK);
    const overlap = Math.min(OVERLAP, start);
    await source.read(buffer, 0, end - start + overlap, start - overlap);
    const view = buffer.subarray(0, end - start + overlap);
    for (let at = view.lastIndexOf(NEWLINE); at >= overlap; at = at === 0 ? -1 : view.lastIndexOf(NEWLINE, at - 1)) {
      // The last record of all ends a line, finished or not; before it only the last one of a split line does.
      if (!last && !endsLine(view, at)) continue;
      last = false;
      const position = start - overlap + at;
      // The record after this newline is the first wanted one when enough have been counted.
      if (left-- === 0) return { found: true, left: 0, start: position + 1, skip: -1 };
    }
    end = start;
  }
  // A newline stands after its record, so the first record of a file was not counted by one before it.
  return { found: false, left: Math.max(left, 0), start: 0, skip: -1 };
}

const MIDDLE = '","stream":"std';
const LINE_END = '\\n","stream":"std';

function endsLine(view: Buffer, newline: number): boolean {
  const record = view.toString("latin1", Math.max(0, newline - OVERLAP), newline);
  const at = record.lastIndexOf(MIDDLE);
  // Long attributes hide it: then the record counts.
  return at === -1 || record.startsWith(LINE_END, at - 2);
}

/** Times grow, so the place is halved in on. */
async function seek(source: Source, since: Instant): Promise<number> {
  const buffer = Buffer.allocUnsafe(LONGEST * 2);
  let low = 0;
  let high = await source.size();
  while (high - low > BLOCK) {
    const middle = Math.floor((low + high) / 2);
    const record = await recordAfter(source, buffer, middle);
    if (record && later(since, record.time)) low = record.start;
    else high = middle;
  }
  return low;
}

/** The first whole record from `position` on, and where it begins. */
async function recordAfter(
  source: Source,
  buffer: Buffer,
  position: number,
): Promise<{ start: number; time: Instant } | undefined> {
  const length = await source.read(buffer, 0, buffer.length, position);
  let at = position === 0 ? 0 : buffer.subarray(0, length).indexOf(NEWLINE) + 1;
  for (;;) {
    const end = buffer.subarray(0, length).indexOf(NEWLINE, at);
    if (end === -1) return undefined;
    const record = parseRecord(buffer.toString("utf8", at, end));
    if (record) return { start: position + at, time: record.time };
    at = end + 1;
  }
}

/** Up to the last newline. */
function whole(fd: number, size: number): number {
  const window = Buffer.alloc(Math.min(size, LONGEST));
  fs.readSync(fd, window, 0, window.length, size - window.length);
  return size - window.length + window.lastIndexOf(NEWLINE) + 1;
}
