import { parseDuration } from "../base/duration.ts";
import { invalid } from "../base/errors.ts";
import { parsePartialTime } from "../base/partial-time.ts";
import { parseTimeBound } from "./clock.ts";

/** Of several the earliest, for lists; what removes takes one alone. */
export function earliestUntil(values: readonly string[] | undefined): number | undefined {
  const times = (values ?? []).map((value) => parseUntil([value])!);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The `until` filter: a time, or a Go duration (`1h30m`) before now. Milliseconds since the epoch; absent is undefined. */
export function parseUntil(values: readonly string[] | undefined): number | undefined {
  if (!values || values.length === 0) return undefined;
  if (values.length > 1) throw invalid("more than one until filter specified");
  const text = values[0]!;
  // A time in the future would be all there is.
  const ago = /^[\d.].*[a-z]$/.test(text) ? parseDuration(text) : undefined;
  if (ago !== undefined) return Date.now() - ago * 1000;
  const time = parseTimeBound(text) ?? parsePartialTime(text);
  if (time === undefined) throw invalid(`invalid until filter: ${text.slice(0, 40)}`);
  return Number(time / 1_000_000n);
}
