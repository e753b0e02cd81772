import { BlockDecoder } from "./block-decoder.ts";
import { BlockEncoder } from "./block-encoder.ts";
import { ATTRIBUTES, BLOCK, ENTRY_HEADER, type Entry, entriesOf, lastBlock, parseAttributes } from "./blocks.ts";
import type { LogFormat, Tail } from "./format.ts";
import type { Source } from "./source.ts";
import { type Instant, instant, later } from "./time-text.ts";

const NEWLINE = 0x0a;
/** Blocks looked through for the beginning of a line that another stream's lines have come between. */
const MOST_BACK = 16;

/** The files of the driver `local`; blocks.ts has what is in them. */
export const blockFormat: LogFormat = {
  compressed: ".zst",
  encoder: () => new BlockEncoder(),
  decoder: (printer) => new BlockDecoder(printer),
  tail,
  seek,
  attributes,
  firstTime: (source) => timeOf(source, Buffer.allocUnsafe(BLOCK), 0),
  whole,
};

async function readBlock(source: Source, block: Buffer, index: number): Promise<number> {
  let length = 0;
  for (;;) {
    const n = await source.read(block, length, BLOCK - length, index * BLOCK + length);
    length += n;
    if (n === 0 || length === BLOCK) return length;
  }
}

async function timeOf(source: Source, block: Buffer, index: number): Promise<Instant | undefined> {
  const length = await readBlock(source, block, index);
  for (const { time } of entriesOf(block, length)) return instant(time);
  return undefined;
}

/** Each block says them anew. */
async function attributes(source: Source, position: number): Promise<Record<string, string>> {
  const block = Buffer.allocUnsafe(BLOCK);
  const length = await readBlock(source, block, Math.floor(position / BLOCK));
  let found = {};
  for (const { stream, from, to } of entriesOf(block, length)) {
    if (from > position % BLOCK) break;
    if (stream === ATTRIBUTES) found = parseAttributes(block.toString("utf8", from, to));
  }
  return found;
}

/** The last block that begins before `since`: what lies in those before it is older still. */
async function seek(source: Source, since: Instant): Promise<number> {
  const block = Buffer.allocUnsafe(BLOCK);
  let low = 0;
  let high = Math.ceil((await source.size()) / BLOCK);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const time = await timeOf(source, block, middle);
    if (time && !later(since, time)) high = middle;
    else low = middle;
  }
  // The line that was going on there may have begun one before.
  return Math.max(0, low - 1) * BLOCK;
}

async function tail(source: Source, lines: number, newest: boolean): Promise<Tail> {
  const block = Buffer.allocUnsafe(BLOCK);
  const size = await source.size();
  const counter = new LineCounter(lines, newest);
  for (let index = Math.ceil(size / BLOCK) - 1; index >= 0; index--) {
    const length = await readBlock(source, block, index);
    for (const entry of [...entriesOf(block, length)].reverse()) {
      if (entry.stream !== ATTRIBUTES && counter.take(block, entry, index * BLOCK)) return counter.result();
    }
    if (counter.found && counter.foundAt - index * BLOCK > MOST_BACK * BLOCK) break;
  }
  return counter.result();
}

/** Counts line ends backwards, then looks for where the lines that come after began. */
class LineCounter {
  found = false;
  /** Position of the newline before the first line that is wanted. */
  foundAt = 0;
  #start = 0;
  /** Whether the earliest entry seen of a stream goes on with a line. */
  readonly #continues: Record<number, boolean | undefined> = {};

  constructor(
    private left: number,
    private readonly newest: boolean,
  ) {}

  /** The next entry, going back; true when all is known. */
  take(block: Buffer, { stream, continues, from, to }: Entry, base: number): boolean {
    if (this.found) return this.#goBack(block, { stream, continues, from, to }, base);
    // The last of all may be without an end.
    const last = this.#continues[stream] === undefined;
    if (last && this.newest && block[to - 1] !== NEWLINE && this.left > 0) this.left--;
    let end = to;
    while (end > from) {
      const at = block.lastIndexOf(NEWLINE, end - 1);
      if (at < from) break;
      if (this.left === 0) return this.#find(base + at, base + from - ENTRY_HEADER, stream);
      this.left--;
      end = at;
    }
    this.#continues[stream] = continues;
    return false;
  }

  #find(at: number, start: number, stream: number): boolean {
    this.found = true;
    this.foundAt = at;
    this.#start = start;
    this.#continues[stream] = false;
    return !this.#continues[1] && !this.#continues[2];
  }

  #goBack(block: Buffer, entry: Omit<Entry, "time">, base: number): boolean {
    const { stream, continues, from, to } = entry;
    if (!this.#continues[stream]) return false;
    this.#start = base + from - ENTRY_HEADER;
    const at = block.lastIndexOf(NEWLINE, to - 1);
    this.#continues[stream] = continues && at < from;
    return !this.#continues[1] && !this.#continues[2];
  }

  result(): Tail {
    return { found: this.found, left: this.left, start: this.#start, skip: this.found ? this.foundAt : -1 };
  }
}

/** Up to the end of the last whole entry of the last block. */
function whole(fd: number, size: number): number {
  const { entries, start } = lastBlock(fd, size);
  return start + (entries.at(-1)?.to ?? 0);
}
