import { invalid } from "../../base/errors.ts";
import { parseTimeBound } from "../clock.ts";
import type { LogOptions, OutputChunk } from "../requests.ts";
import { FRAME_HEADER } from "./printer.ts";
import type { LogReader } from "./reader.ts";
import { instant } from "./time-text.ts";

/**
 * What `docker logs` shows of a log: the wanted streams between the bounds, each line with its time and attributes where
 * asked. Many lines in one buffer; with `framed` each piece of a line has its frame header.
 */
export async function* readLogs(reader: LogReader, options: LogOptions, framed: boolean): AsyncGenerator<Buffer> {
  const since = timeBound(options.since, "since");
  const until = timeBound(options.until, "until");
  const follow = options.follow === true;
  // The bound is in the future for `logs -f --until 1m`: it has to end then, not at the next line.
  const timer = until === undefined || !follow ? undefined : untilTimer(until, () => reader.close());
  try {
    yield* reader.read({
      stdout: options.stdout === true,
      stderr: options.stderr === true,
      timestamps: options.timestamps === true,
      details: options.details === true,
      framed,
      follow,
      tail: parseTail(options.tail),
      since: since === undefined ? undefined : instant(since),
      until: until === undefined ? undefined : instant(until),
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Takes buffers of whole frames apart. */
export async function* unframed(batches: AsyncIterable<Buffer>): AsyncGenerator<OutputChunk> {
  for await (const batch of batches) {
    for (let at = 0; at < batch.length; ) {
      const start = at + FRAME_HEADER;
      const end = start + batch.readUInt32BE(at + 4);
      yield { stream: batch[at] === 2 ? 2 : 1, data: batch.subarray(start, end) };
      at = end;
    }
  }
}

function untilTimer(until: bigint, close: () => void): NodeJS.Timeout | undefined {
  const wait = Number(until / 1_000_000n) - Date.now();
  // setTimeout cannot wait longer than 24 days; nor needs anyone to.
  return wait < 2 ** 31 ? setTimeout(close, Math.max(0, wait)) : undefined;
}

function timeBound(text: string | undefined, name: string): bigint | undefined {
  const bound = parseTimeBound(text);
  if (bound === undefined && text && text !== "0") throw invalid(`invalid value for "${name}": ${text.slice(0, 40)}`);
  return bound;
}

/** Number of lines; undefined is all. What is no number is all too, as in docker. */
function parseTail(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Throws invalid for what {@link readLogs} would refuse. */
export function checkLogOptions(options: LogOptions): void {
  if (!options.stdout && !options.stderr) throw invalid("Bad parameters: you must choose at least one stream");
  timeBound(options.since, "since");
  timeBound(options.until, "until");
}
