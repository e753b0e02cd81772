import type { Decoder, Tail } from "./format.ts";
import type { LogFile } from "./log-file.ts";
import { Printer, type PrintOptions } from "./printer.ts";
import type { Source } from "./source.ts";
import { later } from "./time-text.ts";

/** Bytes read at once; what they become must not hold the event loop up. */
const READ = 128 * 1024;
/** A record is at most 16 KiB of text, six bytes each, and its attributes; what is longer is none. */
const LONGEST_RECORD = 384 * 1024;
const ROOM = LONGEST_RECORD + READ;

export interface ReadOptions extends PrintOptions {
  /** The last so many lines; undefined is all. */
  tail?: number | undefined;
  /** Goes on until the run ends. */
  follow?: boolean;
}

type File = { number: number; source: Source };
type Place = Pick<Tail, "start" | "skip">;

/**
 * A log as it is at this moment: rotation does not take files away from it, and what is written later is only seen with
 * `follow`. {@link close} it.
 */
export class LogReader {
  readonly #files: File[];
  #stop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stop = resolve;
  });
  #closed = false;
  #reading = false;
  /** The run that is followed. */
  readonly #run: number;
  #runOver = false;

  constructor(private readonly log: LogFile) {
    this.#files = log.sources();
    this.#run = log.runs;
  }

  /** Ends following too. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    if (!this.#reading) this.#release();
  }

  #release(): void {
    for (const { source } of this.#files.splice(0)) source.close();
  }

  /**
   * The lines, oldest first, as they are to be sent: many in one buffer, which is the receiver's. Reads in blocks, so
   * memory does not depend on the log's size. Closes the reader at the end.
   */
  async *read(options: ReadOptions): AsyncGenerator<Buffer> {
    if (this.#closed) return;
    this.#reading = true;
    const printer = new Printer(options);
    const decoder = this.log.format.decoder(printer);
    try {
      let place = await this.#begin(options);
      if (options.details && place.start > 0) await this.#attributes(printer, place.start);
      for (let number = -1; !this.#over(printer); place = BEGINNING) {
        const file = this.#files.shift() ?? (options.follow ? await this.#coming(number) : undefined);
        if (!file) break;
        const last = this.#files.length === 0;
        // What is written from now on is for who follows.
        const end = last && !options.follow ? file.source.opened : undefined;
        try {
          decoder.begin(place.start, place.skip);
          const follow = options.follow === true && last;
          yield* this.#file(file, {
            decoder,
            printer,
            start: place.start,
            end: end ?? Number.POSITIVE_INFINITY,
            follow,
          });
        } finally {
          file.source.close();
        }
        number = file.number;
      }
      decoder.end();
      if (!this.#closed) yield* printer.take();
    } finally {
      this.#closed = true;
      this.#release();
    }
  }

  /** Remembered: a run that begins between two of these questions is not the one that is followed. */
  get #ended(): boolean {
    this.#runOver ||= this.log.ended || this.log.runs !== this.#run;
    return this.#runOver;
  }

  #over(printer: Printer): boolean {
    return this.#closed || printer.done;
  }

  /** One file from `start` to its end, or to `end`; one that is followed until another comes after it or the run ends. */
  async *#file(
    { number, source }: File,
    options: { decoder: Decoder; printer: Printer; start: number; end: number; follow: boolean },
  ): AsyncGenerator<Buffer> {
    const { decoder, printer, end, follow } = options;
    const buffer = Buffer.allocUnsafeSlow(ROOM);
    let position = options.start;
    for (let used = 0; !this.#over(printer); ) {
      // Asked before the read: what comes after it is told.
      const changed = follow ? this.log.changed() : undefined;
      const complete = !follow || this.#ended || this.log.rotatedSince(number);
      const n = await source.read(buffer, used, Math.min(READ, end - position), position);
      position += n;
      used += n;
      const taken = decoder.push(buffer, used);
      buffer.copyWithin(0, taken, used);
      used -= taken;
      // What does not fit is no record.
      if (used > LONGEST_RECORD) used = 0;
      yield* printer.take();
      if (n > 0) continue;
      if (complete) return;
      await Promise.race([changed, this.#stopped]);
    }
  }

  /** The file after `number`, once there is one; undefined when the run ends without. */
  async #coming(number: number): Promise<File | undefined> {
    while (!this.#closed) {
      const changed = this.log.changed();
      const next = this.log.sourceAfter(number);
      if (next || this.#ended) return next;
      await Promise.race([changed, this.#stopped]);
    }
    return undefined;
  }

  /** Where the wanted lines begin; the files before are let go. */
  async #begin({ tail, since }: ReadOptions): Promise<Place> {
    const { format } = this.log;
    const files = this.#files;
    if (files.length === 0) return BEGINNING;
    if (tail === 0) {
      this.#drop(files.length - 1);
      return { start: await files[0]!.source.size(), skip: -1 };
    }
    if (tail !== undefined) {
      let left = tail;
      for (let i = files.length - 1; i >= 0; i--) {
        const place = await format.tail(files[i]!.source, left, i === files.length - 1);
        if (place.found) {
          this.#drop(i);
          return place;
        }
        left = place.left;
      }
      return BEGINNING;
    }
    if (!since) return BEGINNING;
    for (let i = files.length - 1; i > 0; i--) {
      const first = await format.firstTime(files[i]!.source);
      if (!first || !later(since, first)) continue;
      this.#drop(i);
      break;
    }
    return { start: await format.seek(files[0]!.source, since), skip: -1 };
  }

  /** Lets the oldest `count` files go. */
  #drop(count: number): void {
    for (const { source } of this.#files.splice(0, count)) source.close();
  }

  async #attributes(printer: Printer, position: number): Promise<void> {
    const { source } = this.#files[0]!;
    const attributes = await this.log.format.attributes?.(source, position);
    if (attributes) printer.attributes = attributes;
  }
}

const BEGINNING: Place = { start: 0, skip: -1 };
