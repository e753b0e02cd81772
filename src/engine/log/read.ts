import fs from "node:fs";
import { promisify } from "node:util";
import { parseRfc3339 } from "../clock.ts";
import type { StreamId } from "../requests.ts";
import { type LogFile, logFiles } from "./json-file.ts";

const read = promisify(fs.read);
const BLOCK = 64 * 1024;
// A record is at most 16 KiB of text, six bytes each, and its attributes; what is longer is no record of ours.
const LONGEST_RECORD = 1024 * 1024;
const NEWLINE = 0x0a;

/** One record of a json-file log. A line of output that was split ends in `\n` only in its last record. */
export interface LogRecord {
  stream: StreamId;
  text: string;
  /** Nanoseconds. */
  time: bigint;
  attributes: Record<string, string>;
}

/**
 * A log as it is at this moment: rotation does not take files away from it, and what is written later is only seen with
 * `follow`. {@link close} it.
 */
export class LogReader {
  #files: { fd: number; size: number; ino: number }[] = [];
  #stop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stop = resolve;
  });
  #closed = false;

  constructor(
    private readonly path: string,
    /** The writer, for following. */
    private readonly log?: LogFile,
  ) {
    for (const file of logFiles(path)) this.#open(file);
  }

  #open(file: string): void {
    try {
      const fd = fs.openSync(file, "r");
      const { size, ino } = fs.fstatSync(fd);
      this.#files.push({ fd, size, ino });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  /** Ends following too. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
  }

  /**
   * The records, oldest first, from the last `tail` lines on (all by default). With `follow` it goes on until the run
   * ends. Reads in blocks, so memory does not depend on the log's size. Closes the reader at the end.
   */
  async *records(options: { tail?: number | undefined; follow?: boolean } = {}): AsyncGenerator<LogRecord> {
    try {
      let [index, offset] = await this.#start(options.tail);
      for (; index < this.#files.length; index++, offset = 0) {
        const file = this.#files[index]!;
        const last = index === this.#files.length - 1;
        for await (const line of this.#lines(file, offset, Boolean(options.follow) && last)) {
          const record = parseRecord(line);
          if (record) yield record;
          if (this.#closed) return;
        }
      }
      // Nothing was ever written: the first line may still come.
      while (options.follow && this.#files.length === 0 && this.log && !this.log.ended && !this.#closed) {
        await Promise.race([this.log.changed(), this.#stopped]);
        this.#open(this.path);
        if (this.#files.length > 0) yield* this.records({ follow: true });
      }
    } finally {
      this.close();
      for (const { fd } of this.#files.splice(0)) fs.closeSync(fd);
    }
  }

  /** Whole lines of a file from `offset`; to its size at opening, or with `follow` through the files after it. */
  async *#lines(file: { fd: number; size: number; ino: number }, offset: number, follow: boolean) {
    let buffer = Buffer.allocUnsafe(BLOCK * 2);
    let used = 0;
    for (let { fd, size, ino } = file; ; ) {
      const changed = follow ? this.log?.changed() : undefined;
      const ended = this.log?.ended ?? true;
      if (buffer.length - used < BLOCK) buffer = Buffer.concat([buffer.subarray(0, used)], buffer.length * 2);
      const want = follow ? BLOCK : Math.min(BLOCK, size - offset);
      const { bytesRead } = want > 0 ? await read(fd, buffer, used, want, offset) : { bytesRead: 0 };
      offset += bytesRead;
      used += bytesRead;
      let start = 0;
      for (let end = buffer.indexOf(NEWLINE); end !== -1 && end < used; end = buffer.indexOf(NEWLINE, start)) {
        yield buffer.subarray(start, end);
        start = end + 1;
      }
      buffer.copyWithin(0, start, used);
      used -= start;
      if (used > LONGEST_RECORD) used = 0;
      if (bytesRead > 0) continue;
      if (!follow || this.#closed) return;

      const next = this.#after(ino);
      if (next !== undefined) {
        // Rotated away: it is complete, but was perhaps not yet when the read above returned.
        if (offset < fs.fstatSync(fd).size) continue;
        const at = this.#files.findIndex((open) => open.fd === fd);
        fs.closeSync(fd);
        this.#files.splice(at, 1, next);
        ({ fd, size, ino } = next);
        offset = 0;
      } else if (ended) {
        return;
      } else {
        await Promise.race([changed, this.#stopped]);
      }
    }
  }

  /** The file that followed the one with this inode number; undefined while that is the current one. */
  #after(ino: number): { fd: number; size: number; ino: number } | undefined {
    const files = logFiles(this.path);
    // Gone altogether: so many rotations happened that the oldest that is left comes next.
    let next = files[0];
    for (const [i, file] of files.entries()) {
      if (statIno(file) === ino) next = files[i + 1];
    }
    if (next === undefined) return undefined;
    this.#open(next);
    const opened = this.#files.pop();
    return opened?.ino === ino ? undefined : opened;
  }

  /** Where the last `lines` lines begin: file and offset. */
  async #start(lines: number | undefined): Promise<[number, number]> {
    if (lines === undefined) return [0, 0];
    const buffer = Buffer.allocUnsafe(BLOCK);
    let left = lines;
    let newest = true;
    for (let index = this.#files.length - 1; index >= 0; index--) {
      const { fd, size } = this.#files[index]!;
      for (let end = size; end > 0; ) {
        const start = Math.max(0, end - BLOCK);
        await read(fd, buffer, 0, end - start, start);
        for (let at = lastNewline(buffer, end - start); at !== -1; at = lastNewline(buffer, at)) {
          // The last record of all ends a line, finished or not.
          if (!newest && !(await endsLine(fd, start + at))) continue;
          newest = false;
          // The line after this newline is the first wanted one when enough have been counted.
          if (left-- === 0) return [index, start + at + 1];
        }
        end = start;
      }
    }
    return [0, 0];
  }
}

const lastNewline = (buffer: Buffer, before: number) => (before === 0 ? -1 : buffer.lastIndexOf(NEWLINE, before - 1));

const LINE_END = Buffer.from('\\n","stream":"');

/** Whether the record that ends at `newline` finishes a line of output: only the last record of a split line does. */
async function endsLine(fd: number, newline: number): Promise<boolean> {
  const window = Buffer.alloc(Math.min(newline, 512));
  await read(fd, window, 0, window.length, newline - window.length);
  const at = window.lastIndexOf('","stream":"');
  // Long attributes hide it: then the record counts.
  return at === -1 || window.subarray(Math.max(0, at - 2)).indexOf(LINE_END) === 0;
}

function statIno(file: string): number | undefined {
  try {
    return fs.statSync(file).ino;
  } catch {
    return undefined;
  }
}

/** Undefined for what is no record: a torn write, or someone else's line. */
function parseRecord(line: Buffer): LogRecord | undefined {
  try {
    const { log, stream, time, attrs } = JSON.parse(line.toString()) as Record<string, unknown>;
    const at = typeof time === "string" ? parseRfc3339(time) : undefined;
    if (typeof log !== "string" || at === undefined) return undefined;
    return {
      stream: stream === "stderr" ? 2 : 1,
      text: log,
      time: at,
      attributes: typeof attrs === "object" && attrs !== null ? (attrs as Record<string, string>) : {},
    };
  } catch {
    return undefined;
  }
}
