import { invalid } from "../base/errors.ts";
import { parseTimeBound } from "./clock.ts";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

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
  const time = parseTimeBound(text);
  if (time === undefined) throw invalid(`invalid until filter: ${text.slice(0, 40)}`);
  return Number(time / 1_000_000n);
}
