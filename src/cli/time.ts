import { ExitError } from "./command.ts";

const UNITS: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Seconds of a Go duration (`1h30m`, `1.5s`); undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)$/.exec(text);
  if (!match) return /^[+-]?0$/.test(text) ? 0 : undefined;
  let seconds = 0;
  for (const [, value, unit] of match[2]!.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    seconds += Number(value) * UNITS[unit!]!;
  }
  return match[1] === "-" ? -seconds : seconds;
}

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
