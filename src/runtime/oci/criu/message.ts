/** A field of a protobuf message: its number, and a bool or integer, a string, or a message. Absent ones are left out. */
export type Field = readonly [number: number, value: boolean | number | string | Uint8Array | undefined];

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** A protobuf message (protobuf.dev, "Encoding") of the few kinds of fields that CRIU's requests have. */
export function encodeMessage(fields: readonly Field[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [number, value] of fields) {
    if (value === undefined) continue;
    if (typeof value === "boolean" || typeof value === "number") {
      parts.push(varint(number * 8 + VARINT), varint(Number(value)));
      continue;
    }
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    parts.push(varint(number * 8 + BYTES), varint(bytes.length), bytes);
  }
  return Buffer.concat(parts);
}

/** The fields of a message by number, each as it came: integers, and the bytes of strings and messages. */
export interface Message {
  integer(number: number): number | undefined;
  text(number: number): string | undefined;
  message(number: number): Message | undefined;
}

/** Of a field that is there more than once the last counts. A message that is cut short is an Error. */
export function decodeMessage(bytes: Uint8Array): Message {
  const integers = new Map<number, number>();
  const strings = new Map<number, Uint8Array>();
  let at = 0;
  const take = (length: number) => {
    if (length < 0 || at + length > bytes.length) throw new Error("a protobuf message is cut short");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const next = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = take(1)[0]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    // int32 and int64 are sent as 64 bits.
    return Number(BigInt.asIntN(64, value));
  };
  while (at < bytes.length) {
    const tag = next();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        integers.set(number, next());
        break;
      case BYTES:
        strings.set(number, take(next()));
        break;
      case FIXED64:
        take(8);
        break;
      case FIXED32:
        take(4);
        break;
      default:
        throw new Error(`a protobuf message has a field of the unknown kind ${tag % 8}`);
    }
  }
  return {
    integer: (number) => integers.get(number),
    text(number) {
      const found = strings.get(number);
      return found && Buffer.from(found).toString();
    },
    message(number) {
      const found = strings.get(number);
      return found && decodeMessage(found);
    },
  };
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}
