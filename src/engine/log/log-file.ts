import fs from "node:fs";
import { dirname } from "node:path";
import { codeOf } from "../../base/errors.ts";
import { nowNanoseconds } from "../clock.ts";
import type { LogLimits } from "../config/log-config.ts";
import type { OutputChunk, StreamId } from "../requests.ts";
import type { Encoder, LogFormat } from "./format.ts";
import { Segments } from "./segments.ts";
import type { Source } from "./source.ts";
import { Unfinished } from "./unfinished.ts";

/** Writing less takes no time in which an engine is likely to be killed. */
const LARGE = 4096;

export interface LogFileOptions {
  format: LogFormat;
  limits: LogLimits;
  /** What goes along with every line; asked at the beginning of each run. */
  attributes?: () => Record<string, string>;
  /** A rotated file could not be compressed: it stays as it is. */
  onError?: (error: unknown) => void;
}

/**
 * A log in files: `<path>` and, older, `<path>.1` upward. One writer; readers follow by {@link changed}. What was read is
 * in the page cache when {@link write} returns, so a killed engine loses none.
 */
export class LogFile {
  readonly #encoder: Encoder;
  #change: PromiseWithResolvers<void> | undefined;
  #fd: number | undefined;
  #size = 0;
  #ended = true;
  readonly #segments: Segments;
  readonly #unfinished: Unfinished;
  #saved = false;
  #underway = false;
  #runs = 0;
  /** No run has begun since this engine has the log. */
  #fresh = true;

  constructor(
    readonly path: string,
    private readonly options: LogFileOptions,
  ) {
    this.#encoder = options.format.encoder();
    const { maxFiles, compress } = options.limits;
    const extension = options.format.compressed;
    this.#segments = new Segments(path, { maxFiles, compress, extension, onError: options.onError });
    this.#unfinished = new Unfinished(path);
  }

  get format(): LogFormat {
    return this.options.format;
  }

  /** A run starts: followers keep waiting. With `adopted` it is the one that an earlier engine logged so far. */
  begin(adopted = false): void {
    this.#ended = false;
    const attributes = this.options.attributes?.();
    if (attributes) this.#encoder.setAttributes(attributes);
    if (!this.#fresh) return;
    this.#fresh = false;
    if (adopted || this.#unfinished.exists) this.#resume(adopted);
  }

  /** Takes up what an engine that was killed has left in the middle of a line. */
  #resume(adopted: boolean): void {
    const fd = this.#open();
    const { pieces, size } = this.#unfinished.restore(fd);
    if (adopted && size !== undefined && size < this.#size) {
      fs.ftruncateSync(fd, size);
      this.#size = size;
    }
    this.#encoder.resume(pieces, fd, this.#size);
    if (!adopted) this.#encoder.end(nowNanoseconds(), this);
    else if (this.#encoder.held > 0) this.#settle();
  }

  /** Takes one stream's output. Errors (a full disk) are thrown as node's, and leave nothing half-written. */
  write(stream: StreamId, data: Uint8Array, time = nowNanoseconds()): void {
    if (this.#fd === undefined) this.#open();
    if (data.length >= LARGE) {
      this.#unfinished.begin(this.#encoder.pending(), this.#fd!);
      this.#saved = this.#underway = true;
    }
    this.#encoder.push(stream, data, time, this);
    this.#notify();
  }

  /** What was written last has left the pipe. */
  taken(): void {
    if (this.#fd !== undefined && (this.#underway || this.#encoder.held > 0)) this.#settle();
    this.#underway = false;
  }

  #settle(): void {
    this.#unfinished.settle(this.#encoder.pending(), this.#fd!);
    this.#saved = true;
  }

  /** Output of a run ended: unfinished lines are written, the file is closed; {@link write} opens it again. */
  end(): void {
    try {
      if (this.#fd === undefined && this.pending().length > 0) this.#open();
      this.#encoder.end(nowNanoseconds(), this);
      if (this.#saved) this.#unfinished.forget();
      this.#saved = false;
    } finally {
      if (this.#fd !== undefined) fs.closeSync(this.#fd);
      this.#fd = undefined;
      this.#ended = true;
      this.#runs++;
      this.#notify();
    }
  }

  /** Between {@link end} and the next run's start nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** How many runs have ended: who follows one does not go on with the next. */
  get runs(): number {
    return this.#runs;
  }

  /** Output taken, but not in the file yet because its line is not finished. */
  pending(): OutputChunk[] {
    return this.#encoder.pending();
  }

  /** Resolves at the next write, end or {@link wake}. */
  changed(): Promise<void> {
    this.#change ??= Promise.withResolvers();
    return this.#change.promise;
  }

  /** Lets every waiting reader look again. */
  wake(): void {
    this.#notify();
  }

  /** Resolves when no file is being compressed. */
  get settled(): Promise<void> {
    return this.#segments.settled;
  }

  /** Opens all files as they are, oldest first: rotation does not take them away any more. The caller closes them. */
  sources(): { number: number; source: Source }[] {
    return this.#segments.open();
  }

  /** The file after that of `number`, or the oldest that is left; undefined while that is the current one. */
  sourceAfter(number: number): { number: number; source: Source } | undefined {
    return this.#segments.after(number);
  }

  /** Whether the file of `number` is complete, since others came after it. */
  rotatedSince(number: number): boolean {
    return this.#segments.number > number;
  }

  /** The encoder's view of the current file. */
  get size(): number {
    return this.#size;
  }

  get room(): number {
    return this.options.limits.maxSize - this.#size;
  }

  append(...parts: Uint8Array[]): void {
    if (this.room <= 0) this.#rotate();
    const fd = this.#fd!;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    let done = 0;
    try {
      done = parts.length === 1 ? fs.writeSync(fd, parts[0]!) : fs.writevSync(fd, parts);
      if (done < length) {
        const rest = Buffer.concat(parts);
        while (done < length) done += fs.writeSync(fd, rest, done);
      }
    } catch (error) {
      // Half a record would spoil the next one too.
      if (done > 0) fs.ftruncateSync(fd, this.#size);
      throw error;
    }
    this.#size += length;
  }

  #notify(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }

  #open(): number {
    const fd = openOrMake(this.path);
    try {
      this.#size = fs.fstatSync(fd).size;
      // What a kill left of the last record is cut off, or the next one would be lost with it.
      const whole = this.#size === 0 ? 0 : this.format.whole(fd, this.#size);
      if (whole < this.#size) fs.ftruncateSync(fd, whole);
      this.#size = whole;
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
    this.#fd = fd;
    this.#segments.compressRest();
    return fd;
  }

  #rotate(): void {
    fs.closeSync(this.#fd!);
    this.#fd = undefined;
    this.#segments.rotate();
    this.#fd = fs.openSync(this.path, "a+", 0o640);
    this.#size = 0;
  }
}

/** For appending. The directory is made when it is missing. */
function openOrMake(path: string): number {
  try {
    return fs.openSync(path, "a+", 0o640);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return fs.openSync(path, "a+", 0o640);
  }
}
