/** Docker's "never". */
export const ZERO_TIME = "0001-01-01T00:00:00Z";

let offset = 0n;
let last = 0n;

/**
 * Nanoseconds since the epoch, never twice the same and never going back within this process, so that the order of
 * log lines and events is the order of their times.
 */
export function nowNanoseconds(): bigint {
  const wall = BigInt(Date.now()) * 1_000_000n;
  const monotonic = process.hrtime.bigint();
  // The monotonic clock gives the digits below the millisecond; it is set again when the wall clock was.
  const drift = monotonic + offset - wall;
  if (drift < -1_000_000n || drift > 2_000_000n) offset = wall - monotonic;
  const now = monotonic + offset;
  last = now > last ? now : last + 1n;
  return last;
}

/** RFC 3339 in UTC with all nine digits. */
export function formatNanoseconds(time: bigint): string {
  const seconds = time / 1_000_000_000n;
  const rest = (time - seconds * 1_000_000_000n).toString().padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${rest}Z`;
}

export function nowText(): string {
  return formatNanoseconds(nowNanoseconds());
}

/**
 * RFC 3339 to nanoseconds; undefined for anything else. Offsets are honoured, digits beyond the ninth cut.
 */
export function parseRfc3339(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,20}))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return undefined;
  const [, date, time, fraction = "", zone] = match;
  const milliseconds = Date.parse(`${date}T${time}${zone?.toUpperCase()}`);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}

/** A time bound in docker's query notation: unix seconds with a fraction, or RFC 3339. Undefined for "", "0", absent. */
export function parseTimeBound(text: string | undefined): bigint | undefined {
  if (text === undefined || text === "" || text === "0") return undefined;
  const unix = /^(-?\d{1,12})(?:\.(\d{1,20}))?$/.exec(text);
  if (!unix) return parseRfc3339(text);
  const [, seconds = "0", fraction = ""] = unix;
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}
