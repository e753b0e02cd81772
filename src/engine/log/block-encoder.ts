import type { OutputChunk, StreamId } from "../requests.ts";
import { ATTRIBUTES, BLOCK, blockEnd, ENTRY_HEADER, lastBlock, writeHeader } from "./blocks.ts";
import type { Encoder, Output } from "./format.ts";

const NEWLINE = 0x0a;
const ZEROS = Buffer.alloc(ENTRY_HEADER);
/** A piece is not smaller because of the file's bound alone. */
const SMALLEST = 512;

/** Writes output as blocks.ts has it. Holds nothing back. */
export class BlockEncoder implements Encoder {
  #attributes = Buffer.alloc(0);
  readonly #header = Buffer.alloc(ENTRY_HEADER);

  setAttributes(attributes: Record<string, string>): void {
    const none = Object.keys(attributes).length === 0;
    this.#attributes =
      none && this.#attributes.length === 0 ? this.#attributes : Buffer.from(JSON.stringify(attributes));
    this.#told = false;
  }
  #told = true;
  /** Whether a stream is in the middle of a line. */
  readonly #middle = { 1: false, 2: false, [ATTRIBUTES]: false };

  push(stream: StreamId, data: Uint8Array, time: bigint, output: Output): void {
    for (let at = 0; at < data.length; ) {
      if (this.#space(output) === BLOCK || !this.#told) this.#tell(time, output);
      const space = this.#space(output);
      const room = Math.min(space - ENTRY_HEADER, Math.max(output.room - ENTRY_HEADER, SMALLEST));
      let end = Math.min(data.length, at + room);
      if (output.room < space && end < data.length) end = afterLine(data, at, end);
      this.#append(stream, data.subarray(at, end), time, output);
      at = end;
    }
  }

  end(): void {
    this.#middle[1] = this.#middle[2] = false;
  }

  pending(): OutputChunk[] {
    return [];
  }

  readonly held = 0;

  resume(_: readonly OutputChunk[], fd: number, size: number): void {
    const { block, entries } = lastBlock(fd, size);
    for (const { stream, to } of entries) if (stream !== ATTRIBUTES) this.#middle[stream] = block[to - 1] !== NEWLINE;
  }

  /** At the beginning of each block, and when they change. */
  #tell(time: bigint, output: Output): void {
    this.#told = true;
    if (this.#attributes.length === 0) return;
    if (this.#space(output) < ENTRY_HEADER + this.#attributes.length) this.#fill(output);
    this.#append(ATTRIBUTES, this.#attributes, time, output);
  }

  #append(stream: StreamId | typeof ATTRIBUTES, data: Uint8Array, time: bigint, output: Output): void {
    writeHeader(this.#header, stream, { continues: this.#middle[stream], length: data.length, time });
    output.append(this.#header, data);
    if (stream !== ATTRIBUTES) this.#middle[stream] = data.at(-1) !== NEWLINE;
  }

  /** What is left of the block for an entry, in a new one if it is next to nothing. */
  #space(output: Output): number {
    if (output.room <= 0) return BLOCK;
    const left = blockEnd(output.size) - output.size;
    if (left > ENTRY_HEADER) return left;
    output.append(ZEROS.subarray(0, left));
    return BLOCK;
  }

  /** Leaves the rest of the block unused. */
  #fill(output: Output): void {
    output.append(Buffer.alloc(blockEnd(output.size) - output.size));
  }
}

/** The end of the last line in data[from..to); `to` if none ends there. */
function afterLine(data: Uint8Array, from: number, to: number): number {
  const end = data.lastIndexOf(NEWLINE, to - 1);
  return end < from ? to : end + 1;
}
