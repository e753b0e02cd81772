import fs from "node:fs";
import { nowNanoseconds } from "../clock.ts";
import type { OutputChunk, StreamId } from "../requests.ts";
import { RecordEncoder } from "./encode.ts";

export interface LogLimits {
  /** Bytes after which a file is rotated; Infinity for never. */
  maxSize: number;
  /** Files kept, the current one included. */
  maxFiles: number;
}

// Unlike docker's unlimited default: a container that babbles must not fill the disk.
export const DEFAULT_LIMITS: LogLimits = { maxSize: 20_000_000, maxFiles: 5 };

/** LogConfig.Config of the json-file driver, as config/ has checked it. */
export function logLimits(config: Record<string, string> = {}): LogLimits {
  const { "max-size": size, "max-file": files } = config;
  return {
    maxSize: size === undefined ? DEFAULT_LIMITS.maxSize : parseSize(size),
    maxFiles: files === undefined ? (size === undefined ? DEFAULT_LIMITS.maxFiles : 1) : Number(files),
  };
}

/** Decimal multiples, as docker's log drivers count; -1 is no bound. */
function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([kmgtp]?)i?b?$/i.exec(text);
  if (!match) return Number.POSITIVE_INFINITY;
  return Math.max(1, Math.floor(Number(match[1]) * 1000 ** " kmgtp".indexOf(match[2]?.toLowerCase() || " ")));
}

/**
 * The log of one container, `<path>` and, older, `<path>.1` upward. One writer; readers follow by {@link changed}.
 * Records are in the page cache when {@link write} returns, so a killed engine loses none.
 */
export class LogFile {
  #fd: number | undefined;
  #size = 0;
  readonly #encoders: Record<StreamId, RecordEncoder>;
  readonly #listeners = new Set<() => void>();
  #ended = true;

  constructor(
    readonly path: string,
    readonly limits: LogLimits = DEFAULT_LIMITS,
    attributes: Record<string, string> = {},
  ) {
    this.#encoders = { 1: new RecordEncoder(1, attributes), 2: new RecordEncoder(2, attributes) };
  }

  /** Appends one stream's output. Errors (a full disk) are thrown as node's. */
  write(stream: StreamId, data: Uint8Array): void {
    this.#encoders[stream].push(data, nowNanoseconds(), this.#append);
    this.#notify();
  }

  /** Output of a run ended: unfinished lines are written, the file is closed; {@link write} opens it again. */
  end(): void {
    try {
      for (const stream of [1, 2] as const) this.#encoders[stream].end(nowNanoseconds(), this.#append);
    } finally {
      if (this.#fd !== undefined) fs.closeSync(this.#fd);
      this.#fd = undefined;
      this.#ended = true;
      this.#notify();
    }
  }

  /** Between {@link end} and the next run's start nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Output read, but not in the file yet because its line is not finished. */
  pending(): OutputChunk[] {
    return ([1, 2] as const).flatMap((stream) => {
      const data = this.#encoders[stream].pending;
      return data.length > 0 ? [{ stream, data: Uint8Array.from(data) }] : [];
    });
  }

  /** A run starts: followers keep waiting. */
  begin(): void {
    this.#ended = false;
  }

  /** Resolves at the next write, end or {@link wake}. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#listeners.add(resolve));
  }

  /** Lets every waiting reader look again. */
  wake(): void {
    this.#notify();
  }

  #notify(): void {
    if (this.#listeners.size === 0) return;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  readonly #append = (records: Uint8Array): void => {
    if (this.#fd === undefined) this.#open();
    if (this.#size >= this.limits.maxSize) this.#rotate();
    for (let done = 0; done < records.length; ) done += fs.writeSync(this.#fd!, records, done);
    this.#size += records.length;
  };

  #open(): void {
    this.#fd = fs.openSync(this.path, "a+", 0o640);
    this.#size = fs.fstatSync(this.#fd).size;
    this.#mendTornRecord(this.#fd);
  }

  /** A crash of the machine can leave half a record at the end: it is cut off, or the next one would be lost with it. */
  #mendTornRecord(fd: number): void {
    const window = Buffer.alloc(Math.min(this.#size, 128 * 1024));
    if (window.length === 0) return;
    fs.readSync(fd, window, 0, window.length, this.#size - window.length);
    if (window[window.length - 1] === 0x0a) return;
    this.#size -= window.length - (window.lastIndexOf(0x0a) + 1);
    fs.ftruncateSync(fd, this.#size);
  }

  #rotate(): void {
    fs.closeSync(this.#fd!);
    this.#fd = undefined;
    for (let n = this.limits.maxFiles - 1; n > 0; n--) {
      const from = n === 1 ? this.path : `${this.path}.${n - 1}`;
      if (fs.existsSync(from)) fs.renameSync(from, `${this.path}.${n}`);
    }
    if (this.limits.maxFiles === 1) fs.rmSync(this.path, { force: true });
    this.#fd = fs.openSync(this.path, "a+", 0o640);
    this.#size = 0;
  }
}

/** The files of the log at `path`, oldest first. */
export function logFiles(path: string): string[] {
  const files: string[] = [];
  if (fs.existsSync(path)) files.push(path);
  for (let n = 1; fs.existsSync(`${path}.${n}`); n++) files.unshift(`${path}.${n}`);
  return files;
}
