import { parseDuration } from "../base/duration.ts";
import { parsePartialTime } from "../base/partial-time.ts";
import { ExitError } from "./command.ts";

const NANOSECONDS = 1_000_000_000n;

/**
 * Unix seconds for the API of --since and --until: RFC 3339, also partial (a zone missing is the local one), Unix
 * seconds with a fraction, or a duration ago. "" is undefined.
 */
export function resolveTime(text: string, now = Date.now()): string | undefined {
  if (text === "") return undefined;
  if (/^\d+(\.\d{1,9})?$/.test(text)) return text;
  const ago = parseDuration(text);
  if (ago !== undefined) return (now / 1000 - ago).toFixed(9);
  const time = parsePartialTime(text);
  if (time !== undefined) {
    // The fraction counts upward, before 1970 too.
    const fraction = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    return `${(time - fraction) / NANOSECONDS}.${String(fraction).padStart(9, "0")}`;
  }
  throw new ExitError(1, `failed to parse value as time or duration: ${JSON.stringify(text)}`);
}
