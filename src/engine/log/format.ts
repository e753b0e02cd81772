import type { OutputChunk, StreamId } from "../requests.ts";
import type { Printer } from "./printer.ts";
import type { Source } from "./source.ts";
import type { Instant } from "./time-text.ts";

/** How a log's files hold output. json-format.ts is docker's json-file, block-format.ts the driver `local`. */
export interface LogFormat {
  /** What compressed files end in; it names the compression too. */
  readonly compressed: ".gz" | ".zst";
  encoder(): Encoder;
  decoder(printer: Printer): Decoder;
  /**
   * Goes back over the last lines of one file: true and where to begin when there are enough, else `left` is what the
   * older files must have. An unfinished line counts in the newest file, where it is the last.
   */
  tail(source: Source, left: number, newest: boolean): Promise<Tail>;
  /** Where lines from `since` on may begin; those before are dropped by who reads. */
  seek(source: Source, since: Instant): Promise<number>;
  /** Of the oldest record; undefined for a file that has none. */
  firstTime(source: Source): Promise<Instant | undefined>;
  /** What goes along with the line at a position, where that is not in each record. */
  attributes?(source: Source, position: number): Promise<Record<string, string>>;
  /** How much of a file of `size` bytes is whole: a kill in the middle of a write can leave half a record. */
  whole(fd: number, size: number): number;
}

export interface Tail {
  found: boolean;
  left: number;
  start: number;
  /** Lines that end up to here are not wanted, though their bytes come after `start`. */
  skip: number;
}

/** Where an {@link Encoder} writes. */
export interface Output {
  /** Bytes in the present file. */
  readonly size: number;
  /** Bytes after which it is rotated: what does not fit goes to the next one. */
  readonly room: number;
  /** Whole records only. The bytes may be reused afterwards. */
  append(...parts: Uint8Array[]): void;
}

/** Turns output into records. Errors are those of {@link Output.append}. */
export interface Encoder {
  /** The labels, variables and tag that go along with every line from now on. */
  setAttributes(attributes: Record<string, string>): void;
  /** `time` in nanoseconds: when `data` was read. */
  push(stream: StreamId, data: Uint8Array, time: bigint, output: Output): void;
  /** The run ended: what is held back is written. */
  end(time: bigint, output: Output): void;
  /** Output that is in no file yet, because its line is not finished. */
  pending(): OutputChunk[];
  /** Bytes of it. */
  readonly held: number;
  /** Goes on where another encoder was killed: with what it held, and its file as it is. */
  resume(pending: readonly OutputChunk[], fd: number, size: number): void;
}

/** Turns records into what {@link Printer} prints. What is no record is passed over. */
export interface Decoder {
  /** The next bytes are a file's from `offset`; lines that end up to `skip` are dropped. */
  begin(offset: number, skip: number): void;
  /** Takes whole records from data[0..length) and returns how many bytes that was; the rest comes again with more behind it. */
  push(data: Buffer, length: number): number;
  /** No more will come: what was held back for the rest of its line is printed. */
  end(): void;
}
