import { invalid } from "../../base/errors.ts";
import { formatNanoseconds, parseTimeBound } from "../clock.ts";
import type { LogOptions, OutputChunk, StreamId } from "../requests.ts";
import type { LogReader } from "./read.ts";

/** What `docker logs` shows of a log: the wanted streams between the bounds, each record as it was written, with its time. */
export async function* logLines(reader: LogReader, options: LogOptions): AsyncGenerator<OutputChunk> {
  const since = timeBound(options.since, "since");
  const until = timeBound(options.until, "until");
  const tail = parseTail(options.tail);
  const unfinished: Record<StreamId, boolean> = { 1: false, 2: false };
  // The bound is in the future for `logs -f --until 1m`: it has to end then, not at the next line.
  const timer = until === undefined || !options.follow ? undefined : untilTimer(until, () => reader.close());
  try {
    for await (const { stream, text, time, attributes } of reader.records({ tail, follow: options.follow === true })) {
      if (until !== undefined && time > until) return;
      const continued = unfinished[stream];
      unfinished[stream] = !text.endsWith("\n");
      if (since !== undefined && time < since) continue;
      if (!(stream === 1 ? options.stdout : options.stderr)) continue;
      const stamp = options.timestamps && !continued ? `${formatNanoseconds(time)} ` : "";
      const details = options.details && !continued ? `${formatAttributes(attributes)} ` : "";
      yield { stream, data: Buffer.from(stamp + details + text) };
    }
  } finally {
    clearTimeout(timer);
  }
}

function untilTimer(until: bigint, close: () => void): NodeJS.Timeout | undefined {
  const wait = Number(until / 1_000_000n) - Date.now();
  // setTimeout cannot wait longer than 24 days; nor needs anyone to.
  return wait < 2 ** 31 ? setTimeout(close, Math.max(0, wait)) : undefined;
}

const formatAttributes = (attributes: Record<string, string>) =>
  Object.entries(attributes)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .sort()
    .join(",");

function timeBound(text: string | undefined, name: string): bigint | undefined {
  const bound = parseTimeBound(text);
  if (bound === undefined && text && text !== "0") throw invalid(`invalid value for "${name}": ${text.slice(0, 40)}`);
  return bound;
}

/** Number of lines; undefined is all. What is no number is all too, as in docker. */
function parseTail(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Throws invalid for bounds that {@link logLines} would refuse. */
export function checkLogOptions(options: LogOptions): void {
  if (!options.stdout && !options.stderr) throw invalid("bad parameters: you must choose at least one stream");
  timeBound(options.since, "since");
  timeBound(options.until, "until");
}
