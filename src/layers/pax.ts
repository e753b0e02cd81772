/** Records of a pax extended header, `LENGTH KEY=VALUE\n`, LENGTH in decimal and counting itself (pax, "pax Extended Header"). */

/** Throws an Error that says what is wrong with which record. A later record of the same key wins. */
export function parsePax(data: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(32, at);
    // Ten digits are more than any header we take has bytes.
    const digits = space < 0 || space - at > 10 ? "" : data.toString("latin1", at, space);
    const end = at + Number(digits);
    if (!/^[1-9]\d*$/.test(digits) || end > data.length || data[end - 1] !== 10) {
      throw new Error(`pax record at byte ${at} of its header has no valid length`);
    }
    const equals = data.indexOf(61, space);
    if (equals < 0 || equals >= end || equals === space + 1) throw new Error(`pax record at byte ${at} has no key`);
    const key = data.toString("utf8", space + 1, equals);
    if (key.includes("\0")) throw new Error(`pax record at byte ${at} has a NUL in its key`);
    records.set(key, data.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

export function formatPax(records: Iterable<readonly [string, string | Uint8Array]>): Buffer {
  const parts: Buffer[] = [];
  for (const [key, value] of records) {
    const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Uint8Array), Buffer.from("\n")]);
    let length = rest.length + String(rest.length).length;
    // The length's own digits may need one digit more.
    if (rest.length + String(length).length !== length) length = rest.length + String(length).length;
    parts.push(Buffer.from(String(length)), rest);
  }
  return Buffer.concat(parts);
}

/** Nanoseconds of a pax time, a decimal number of seconds that may have a sign and a fraction of any length. */
export function parsePaxTime(text: string): bigint | undefined {
  const match = /^(-?)(\d{1,18})(?:\.(\d*))?$/.exec(text);
  if (!match) return undefined;
  const nanoseconds = BigInt(match[2]!) * 1_000_000_000n + BigInt((match[3] ?? "").padEnd(9, "0").slice(0, 9));
  return match[1] ? -nanoseconds : nanoseconds;
}

export function formatPaxTime(nanoseconds: bigint): string {
  const sign = nanoseconds < 0n ? "-" : "";
  const abs = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = String(abs % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${sign}${abs / 1_000_000_000n}${fraction && `.${fraction}`}`;
}
