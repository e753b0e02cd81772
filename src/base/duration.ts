const UNITS: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** What Go holds: nanoseconds in 63 bits, 292 years. */
const LONGEST = 2 ** 63 / 1e9;

/** Seconds of a Go duration (`1h30m`, `1.5s`); undefined when it is none, or longer than Go's may be. */
export function parseDuration(text: string): number | undefined {
  // Each digit has one place: a long text that is none is found out in one pass.
  const match = /^([+-]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+)$/.exec(text);
  if (!match) return /^[+-]?0$/.test(text) ? 0 : undefined;
  let seconds = 0;
  for (const [, value, unit] of match[2]!.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    seconds += Number(value) * UNITS[unit!]!;
  }
  if (seconds >= LONGEST) return undefined;
  return match[1] === "-" ? -seconds : seconds;
}
