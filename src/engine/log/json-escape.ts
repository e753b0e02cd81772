const HEX = Buffer.from("0123456789abcdef");

// What a byte below 0x80 becomes: 0 itself, 1 a \u00XX escape, else the letter after the backslash. `<`, `>` and `&` are
// escaped as Go's encoder does, so that files read the same everywhere.
const ESCAPE = new Uint8Array(128);
ESCAPE.fill(1, 0, 0x20);
for (const byte of Buffer.from("<>&")) ESCAPE[byte] = 1;
for (const [byte, letter] of [
  [0x0a, "n"],
  [0x0d, "r"],
  [0x22, '"'],
  [0x5c, "\\"],
] as const)
  ESCAPE[byte] = letter.charCodeAt(0);

/** Writes data[from..to) as the inside of a JSON string; `out` has six bytes for each. Returns the new end. */
export function escapeInto(out: Uint8Array, at: number, data: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; ) {
    const byte = data[i]!;
    if (byte < 0x80) {
      const escaped = ESCAPE[byte]!;
      if (escaped === 0) out[at++] = byte;
      else if (escaped !== 1) {
        out[at++] = 0x5c;
        out[at++] = escaped;
      } else at = hexEscape(out, at, byte);
      i++;
      continue;
    }
    const length = sequenceLength(data, i, to);
    if (length === 0) {
      at = hexEscape(out, at, 0xfffd);
      i++;
      continue;
    }
    // JavaScript readers of JSON trip over U+2028 and U+2029, so they are escaped as Go does.
    if (byte === 0xe2 && data[i + 1] === 0x80 && (data[i + 2]! & 0xfe) === 0xa8) {
      at = hexEscape(out, at, 0x2000 | (data[i + 2]! & 0x3f));
    } else {
      for (let k = 0; k < length; k++) out[at++] = data[i + k]!;
    }
    i += length;
  }
  return at;
}

function hexEscape(out: Uint8Array, at: number, code: number): number {
  out[at] = 0x5c;
  out[at + 1] = 0x75;
  for (let k = 0; k < 4; k++) out[at + 2 + k] = HEX[(code >> (12 - 4 * k)) & 15]!;
  return at + 6;
}

/** Bytes of the well-formed UTF-8 sequence at `i` (Unicode 15, table 3-7), or 0. */
function sequenceLength(data: Uint8Array, i: number, end: number): number {
  const lead = data[i]!;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || i + length > end) return 0;
  const second = data[i + 1]!;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let k = 2; k < length; k++) if ((data[i + k]! & 0xc0) !== 0x80) return 0;
  return length;
}
