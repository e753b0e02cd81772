/** Bytes as docker prints them: factors of 1000, three significant digits (`7.8MB`) or as many as asked for. */
export function humanSize(bytes: number, digits = 3): string {
  return withUnit(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB"], digits);
}

/** Bytes with factors of 1024, four significant digits (`1.953GiB`). */
export function binarySize(bytes: number): string {
  return withUnit(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4);
}

function withUnit(value: number, factor: number, units: readonly string[], digits: number): string {
  let size = value;
  let unit = 0;
  while (size >= factor && unit < units.length - 1) {
    size /= factor;
    unit++;
  }
  return `${significant(size, digits)}${units[unit]}`;
}

/** C's %.Ng: N significant digits without trailing zeros. */
function significant(value: number, digits: number): string {
  if (value === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  if (exponent >= digits) return value.toExponential(digits - 1).replace(/\.?0*e\+?(\d)$/, "e+0$1");
  const text = value.toPrecision(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A span in docker's words: `About a minute`, `3 hours`. */
export function humanDuration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 1) return "Less than a second";
  if (whole === 1) return "1 second";
  if (whole < 60) return `${whole} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(seconds / 3600 / 24 / 365)} years`;
}

/** A Unix time as `2 hours ago`. */
export function ago(unixSeconds: number, now = Date.now()): string {
  return `${humanDuration(now / 1000 - unixSeconds)} ago`;
}
