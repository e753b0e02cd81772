/**
 * A date, or a time down to which of its parts there are, with the fraction of a second to nine digits (`2026-01-02`,
 * `2026-01-02T15:04`, RFC 3339): nanoseconds since the epoch. Without a zone it is this machine's. Undefined for
 * anything else.
 */
export function parsePartialTime(text: string): bigint | undefined {
  const match =
    /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:?\d{2})?$/.exec(text);
  if (!match) return undefined;
  const [, day, hour = "00", minute = "00", second = "00", fraction = "", zone = ""] = match;
  const milliseconds = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}
