const HEX = Buffer.from("0123456789abcdef");

// What becomes of a byte: 0 itself, 1 a \u00XX escape, 2 looked at more closely, else the letter after the backslash. `<`,
// `>` and `&` are escaped as Go's encoder does, so that files read the same everywhere.
const HEXADECIMAL = 1;
const BEYOND_ASCII = 2;
const ESCAPE = new Uint8Array(256);
ESCAPE.fill(HEXADECIMAL, 0, 0x20);
ESCAPE.fill(BEYOND_ASCII, 0x80);
for (const byte of Buffer.from("<>&")) ESCAPE[byte] = HEXADECIMAL;
for (const [byte, letter] of [
  [0x0a, "n"],
  [0x0d, "r"],
  [0x22, '"'],
  [0x5c, "\\"],
] as const)
  ESCAPE[byte] = letter.charCodeAt(0);

/** Looking for bytes that stay as they are, to copy them by a call, pays off from here on. */
const LONG = 128;

/** Writes data[from..to) as the inside of a JSON string; `out` has six bytes for each. Returns the new end. */
export function escapeInto(out: Uint8Array, at: number, data: Uint8Array, from: number, to: number): number {
  let end = at;
  for (let i = from; i < to; ) {
    if (to - i >= LONG) {
      const start = i;
      while (i < to && ESCAPE[data[i]!] === 0) i++;
      if (i - start >= LONG) {
        out.set(data.subarray(start, i), end);
        end += i - start;
      } else for (let k = start; k < i; k++) out[end++] = data[k]!;
      if (i === to) break;
    }
    const byte = data[i]!;
    const escaped = ESCAPE[byte]!;
    if (escaped === 0) {
      out[end++] = byte;
      i++;
    } else if (escaped > BEYOND_ASCII) {
      out[end++] = 0x5c;
      out[end++] = escaped;
      i++;
    } else if (escaped === HEXADECIMAL) {
      end = hexEscape(out, end, byte);
      i++;
    } else {
      const length = sequenceLength(data, i, to);
      end = length === 0 ? hexEscape(out, end, 0xfffd) : copySequence(out, end, data, i, length);
      i += length || 1;
    }
  }
  return end;
}

function copySequence(out: Uint8Array, at: number, data: Uint8Array, i: number, length: number): number {
  // JavaScript readers of JSON trip over U+2028 and U+2029, so they are escaped as Go does.
  if (length === 3 && data[i] === 0xe2 && data[i + 1] === 0x80 && (data[i + 2]! & 0xfe) === 0xa8) {
    return hexEscape(out, at, 0x2000 | (data[i + 2]! & 0x3f));
  }
  for (let k = 0; k < length; k++) out[at + k] = data[i + k]!;
  return at + length;
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
