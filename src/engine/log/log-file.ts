import fs from "node:fs";
import { basename, dirname } from "node:path";
import { codeOf, messageOf } from "../../base/errors.ts";
import { nowNanoseconds } from "../clock.ts";
import type { LogLimits } from "../config/log-config.ts";
import type { OutputChunk, StreamId } from "../requests.ts";
import { compressFile, PART } from "./compress-file.ts";
import type { Encoder, LogFormat } from "./format.ts";
import { openSource, type Source } from "./source.ts";
import { Unfinished } from "./unfinished.ts";

/** Writing less takes no time in which an engine is likely to be killed. */
const LARGE = 4096;

/** A file of a log. Its number grows from file to file, and stays when its name changes. */
interface Segment {
  readonly number: number;
  path: string;
}

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
  readonly #limits: LogLimits;
  #change: PromiseWithResolvers<void> | undefined;
  #fd: number | undefined;
  #size = 0;
  #ended = true;
  /** Oldest first, the current one last; undefined until they have been looked for. */
  #segments: Segment[] | undefined;
  #compressing = Promise.resolve();
  readonly #unfinished: Unfinished;
  #saved = false;
  #underway = false;
  /** No run has begun since this engine has the log. */
  #fresh = true;

  constructor(
    readonly path: string,
    private readonly options: LogFileOptions,
  ) {
    this.#encoder = options.format.encoder();
    this.#limits = options.limits;
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
      this.#notify();
    }
  }

  /** Between {@link end} and the next run's start nothing more will come. */
  get ended(): boolean {
    return this.#ended;
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
    return this.#compressing;
  }

  /** Opens all files as they are, oldest first: rotation does not take them away any more. The caller closes them. */
  sources(): { number: number; source: Source }[] {
    return this.#known().flatMap((segment) => {
      const source = tryOpen(segment.path);
      return source ? [{ number: segment.number, source }] : [];
    });
  }

  /** The file after that of `number`, or the oldest that is left; undefined while that is the current one. */
  sourceAfter(number: number): { number: number; source: Source } | undefined {
    for (const segment of this.#known()) {
      const source = segment.number > number ? tryOpen(segment.path) : undefined;
      if (source) return { number: segment.number, source };
    }
    return undefined;
  }

  /** Whether the file of `number` is complete, since others came after it. */
  rotatedSince(number: number): boolean {
    return this.#known().at(-1)!.number > number;
  }

  /** The encoder's view of the current file. */
  get size(): number {
    return this.#size;
  }

  get room(): number {
    return this.#limits.maxSize - this.#size;
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
    const segments = this.#known();
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
    if (this.#limits.compress) for (const segment of segments.slice(0, -1)) this.#compress(segment);
    return fd;
  }

  /** Looks for the files once; from then on nobody else changes them. */
  #known(): Segment[] {
    if (this.#segments) return this.#segments;
    const rotated: string[] = [];
    if (this.#limits.compress) removeParts(this.path);
    for (let n = 1; ; n++) {
      const plain = `${this.path}.${n}`;
      const compressed = plain + this.format.compressed;
      const packed = fs.existsSync(compressed);
      // Both: the engine ended between the one's coming and the other's going.
      if (packed) fs.rmSync(plain, { force: true });
      else if (!fs.existsSync(plain)) break;
      rotated.unshift(packed ? compressed : plain);
    }
    this.#segments = [...rotated, this.path].map((path, number) => ({ number, path }));
    return this.#segments;
  }

  #rotate(): void {
    fs.closeSync(this.#fd!);
    this.#fd = undefined;
    const segments = this.#known();
    const { maxFiles, compress } = this.#limits;
    const number = segments.at(-1)!.number + 1;
    while (segments.length > Math.max(maxFiles - 1, 0)) fs.rmSync(segments.shift()!.path, { force: true });
    segments.forEach((segment, i) => {
      const extension = segment.path.endsWith(this.format.compressed) ? this.format.compressed : "";
      const path = `${this.path}.${segments.length - i}${extension}`;
      fs.renameSync(segment.path, path);
      segment.path = path;
    });
    const rotated = segments.at(-1);
    segments.push({ number, path: this.path });
    this.#fd = fs.openSync(this.path, "a+", 0o640);
    this.#size = 0;
    if (compress && rotated) this.#compress(rotated);
  }

  /** One after the other; the file keeps being read by those who have it open. */
  #compress(segment: Segment): void {
    if (segment.path.endsWith(this.format.compressed)) return;
    this.#compressing = this.#compressing.then(async () => {
      const part = `${this.path}.${segment.number}${PART}`;
      try {
        if (!this.#segments?.includes(segment)) return;
        await compressFile(segment.path, part, this.format.compressed);
        // Renamed meanwhile, or already gone.
        if (!this.#segments.includes(segment)) return fs.rmSync(part, { force: true });
        const compressed = segment.path + this.format.compressed;
        fs.renameSync(part, compressed);
        fs.rmSync(segment.path, { force: true });
        segment.path = compressed;
      } catch (error) {
        fs.rmSync(part, { force: true });
        // With its directory the log was removed.
        if (fs.existsSync(dirname(this.path)))
          this.options.onError?.(new Error(`compress ${segment.path}: ${messageOf(error)}`));
      }
    });
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

/** What an engine that ended while it compressed has left. */
function removeParts(path: string): void {
  const directory = dirname(path);
  if (!fs.existsSync(directory)) return;
  const own = `${basename(path)}.`;
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith(own) && name.endsWith(PART)) fs.rmSync(`${directory}/${name}`);
  }
}

function tryOpen(path: string): Source | undefined {
  try {
    return openSource(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
