import fs from "node:fs";
import type { StreamId } from "../requests.ts";

/**
 * The files of the driver `local`. Output lies in them as it was read, in entries: stream, 1 if it goes on
 * with a line of the entry before of that stream, two zeros; length (32 bits, big endian); the time of the read (64 bits,
 * nanoseconds); the bytes. Lines are found when it is read back, so that taking it in costs nothing but the write.
 *
 * A file consists of blocks of 64 KiB, and no entry goes over the end of one: any block can be read without those before
 * it, which is what seeking and what is damaged need. What is left of a block is zeros, where there is not room for more.
 */
export const BLOCK = 64 * 1024;
export const ENTRY_HEADER = 16;
/** A stream of its own: JSON of what goes along with the lines from here on. */
export const ATTRIBUTES = 3;

export interface Entry {
  stream: StreamId | typeof ATTRIBUTES;
  /** It begins in the middle of a line. */
  continues: boolean;
  /** Nanoseconds. */
  time: bigint;
  /** Where its bytes are in the buffer. */
  from: number;
  to: number;
}

/** Where the block of `position` ends. */
export const blockEnd = (position: number) => position - (position % BLOCK) + BLOCK;

export function writeHeader(
  into: Buffer,
  stream: number,
  { continues, length, time }: { continues: boolean; length: number; time: bigint },
): void {
  into.writeUInt32BE(stream * 0x1000000 + (continues ? 0x10000 : 0), 0);
  into.writeUInt32BE(length, 4);
  into.writeBigUInt64BE(time, 8);
}

/**
 * The whole entry at `at` of a block that lies in data[..end) and would end at `full`. Undefined: there is none up to the
 * end of the block; "more": it is not all there yet.
 */
export function readEntry(data: Buffer, at: number, end: number, full: number): Entry | "more" | undefined {
  if (full - at <= ENTRY_HEADER) return undefined;
  if (end - at < ENTRY_HEADER) return "more";
  const stream = data[at]!;
  const from = at + ENTRY_HEADER;
  const to = from + data.readUInt32BE(at + 4);
  const valid =
    stream >= 1 && stream <= ATTRIBUTES && data[at + 1]! <= 1 && data[at + 2] === 0 && data[at + 3] === 0 && to <= full;
  if (!valid) return undefined;
  if (to > end) return "more";
  return {
    stream: stream as Entry["stream"],
    continues: data[at + 1] === 1,
    time: data.readBigUInt64BE(at + 8),
    from,
    to,
  };
}

/** The block in which a file of `size` bytes ends. */
export function lastBlock(fd: number, size: number): { block: Buffer; entries: Entry[]; start: number } {
  const start = size - (size % BLOCK);
  const block = Buffer.alloc(size - start);
  fs.readSync(fd, block, 0, block.length, start);
  return { block, entries: [...entriesOf(block, block.length)], start };
}

/** The whole entries of a block in data[0..length). */
export function* entriesOf(data: Buffer, length: number): Generator<Entry> {
  for (let at = 0; ; ) {
    const entry = readEntry(data, at, length, BLOCK);
    if (entry === undefined || entry === "more") return;
    yield entry;
    at = entry.to;
  }
}

/** What an entry of the stream {@link ATTRIBUTES} says. */
export function parseAttributes(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter(([, one]) => typeof one === "string"));
  } catch {
    return {};
  }
}
