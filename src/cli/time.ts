import { parseDuration } from "../base/duration.ts";
import { ExitError } from "./command.ts";

/**
 * Unix seconds for the API of --since and --until: RFC 3339, also partial (a zone missing is the local one), Unix
 * seconds with a fraction, or a duration ago. "" is undefined.
 */
export function resolveTime(text: string, now = Date.now()): string | undefined {
  if (text === "") return undefined;
  if (/^\d+(\.\d{1,9})?$/.test(text)) return text;
  const ago = parseDuration(text);
  if (ago !== undefined) return (now / 1000 - ago).toFixed(9);
  const match =
    /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:?\d{2})?$/.exec(text);
  if (match) {
    const [, day, hour = "00", minute = "00", second = "00", fraction = "", zone = ""] = match;
    const time = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`);
    if (!Number.isNaN(time)) return `${Math.floor(time / 1000)}.${fraction.padEnd(9, "0")}`;
  }
  throw new ExitError(1, `failed to parse value as time or duration: ${JSON.stringify(text)}`);
}
