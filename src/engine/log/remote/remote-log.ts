import { messageOf } from "../../../base/errors.ts";
import type { StreamId } from "../../requests.ts";
import { LineSplitter } from "../line-splitter.ts";

/** A line, or a piece of one that is longer than 16 KiB. */
export interface Message {
  stream: StreamId;
  text: Uint8Array;
  /** Nanoseconds: when the line was read, or its first piece. */
  time: bigint;
  /** Of a piece: which one from 1 on, whether it is the last, and what all of a line have in common. */
  partial?: { id: string; ordinal: number; last: boolean } | undefined;
}

/** A log that is kept elsewhere. */
export interface Receiver {
  /** A run begins. */
  begin(): void;
  /** Resolves when it can be sent to. Without it the first {@link send} connects. */
  connect(): Promise<void>;
  encode(message: Message): Buffer;
  /** The promise, if there is one, resolves when the next may come. Rejects, or throws, when it did not go out. */
  send(data: Buffer): Promise<void> | undefined;
  /** Resolves when all that was sent is on its way. */
  close(): Promise<void>;
}

export interface RemoteOptions {
  receiver: Receiver;
  /** Bytes after which what comes is dropped (mode non-blocking); undefined: whoever writes waits. */
  buffer?: number | undefined;
  /** What was lost, and why. */
  onError(error: Error): void;
  /** An id for a line that comes in pieces. */
  newId(): string;
}

/** Bytes that wait before the container is held back. */
const HIGH_WATER = 256 * 1024;
/** So many messages are sent before others have their turn. */
const TURN = 128;
/** A receiver that takes nothing does not hold the end of a run up for longer, as in docker. */
const PATIENCE = 10_000;

/** Sends output to a {@link Receiver}, line by line and in order. */
export class RemoteLog {
  readonly #streams: Record<StreamId, { lines: LineSplitter; partial: Message["partial"]; time: bigint }> = {
    1: { lines: new LineSplitter(), partial: undefined, time: 0n },
    2: { lines: new LineSplitter(), partial: undefined, time: 0n },
  };
  #queue: Buffer[] = [];
  #bytes = 0;
  #sending: Promise<void> | undefined;
  #onRoom: (() => void)[] = [];
  #dropped = 0;
  #lost = 0;
  #lastError: unknown;

  constructor(private readonly options: RemoteOptions) {}

  begin(): void {
    this.options.receiver.begin();
  }

  /** Before a run. Rejects when nobody receives. */
  async connect(): Promise<void> {
    await this.options.receiver.connect();
  }

  /** Takes output. The promise, if there is one, resolves when the next may come. */
  write(stream: StreamId, data: Uint8Array, time: bigint): Promise<void> | undefined {
    this.#streams[stream].lines.push(data, (bytes, from, to, ends) =>
      this.#piece(stream, bytes.subarray(from, to), time, ends),
    );
    return this.#bytes < HIGH_WATER || this.options.buffer !== undefined
      ? undefined
      : new Promise((resolve) => this.#onRoom.push(resolve));
  }

  /** The run ended: resolves when all is sent, or given up. */
  async end(time: bigint): Promise<void> {
    for (const stream of [1, 2] as const) {
      this.#streams[stream].lines.end((bytes, from, to) => this.#piece(stream, bytes.subarray(from, to), time, true));
      this.#streams[stream].partial = undefined;
    }
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE);
    });
    await Promise.race([this.#sending, patience]);
    clearTimeout(timer);
    this.#dropped += this.#queue.length;
    this.#queue = [];
    this.#bytes = 0;
    this.#tell();
    await this.options.receiver.close();
  }

  #piece(stream: StreamId, text: Uint8Array, time: bigint, ends: boolean): void {
    const state = this.#streams[stream];
    if (!ends || state.partial) {
      if (!state.partial) state.time = time;
      const { id, ordinal } = state.partial ?? { id: this.options.newId(), ordinal: 0 };
      state.partial = { id, ordinal: ordinal + 1, last: ends };
    }
    const at = state.partial ? state.time : time;
    this.#enqueue(this.options.receiver.encode({ stream, text, time: at, partial: state.partial }));
    if (ends) state.partial = undefined;
  }

  #enqueue(message: Buffer): void {
    const { buffer } = this.options;
    if (buffer !== undefined && this.#queue.length > 0 && this.#bytes + message.length > buffer) {
      this.#dropped++;
      return;
    }
    this.#queue.push(message);
    this.#bytes += message.length;
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async #send(): Promise<void> {
    // All of a read is there before the first goes out.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const messages = this.#queue.splice(0, TURN);
      for (const message of messages) {
        try {
          await this.options.receiver.send(message);
        } catch (error) {
          this.#lost++;
          this.#lastError = error;
        }
        this.#bytes -= message.length;
      }
      if (this.#bytes < HIGH_WATER) for (const wake of this.#onRoom.splice(0)) wake();
      await new Promise(setImmediate);
    }
    this.#tell();
  }

  /** What was lost is told when there is a moment, not line by line. */
  #tell(): void {
    const { buffer, onError } = this.options;
    if (this.#dropped > 0) {
      const why = buffer === undefined ? "the receiver took nothing" : `the buffer of ${buffer} bytes was full`;
      onError(new Error(`${this.#dropped} log messages dropped: ${why}`));
    }
    if (this.#lost > 0) onError(new Error(`${this.#lost} log messages lost: ${messageOf(this.#lastError)}`));
    this.#dropped = this.#lost = 0;
  }
}
