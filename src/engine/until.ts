import { invalid } from "../base/errors.ts";
import { parseTimeBound } from "./clock.ts";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

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
  if (/^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+$/.test(text)) {
    let ago = 0;
    for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) ago += Number(number) * UNITS[unit!]!;
    return Date.now() - ago;
  }
  const time = parseTimeBound(text) ?? partial(text);
  if (time === undefined) throw invalid(`invalid until filter: ${text.slice(0, 40)}`);
  return Number(time / 1_000_000n);
}

/** A date, or a time without seconds or zone, which is this machine's then: nanoseconds since the epoch. */
function partial(text: string): bigint | undefined {
  const [, date, hours = "00", minutes = "00", seconds = "00", zone = ""] =
    /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?)?)?(Z|[+-]\d{2}:\d{2})?$/.exec(text) ?? [];
  if (date === undefined) return undefined;
  const milliseconds = Date.parse(`${date}T${hours}:${minutes}:${seconds}${zone}`);
  return Number.isNaN(milliseconds) ? undefined : BigInt(Math.trunc(milliseconds)) * 1_000_000n;
}
