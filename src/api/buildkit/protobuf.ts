import { invalid } from "../../base/errors.ts";

/** The protocol buffers wire format (protobuf.dev/programming-guides/encoding), as far as BuildKit's messages need it. */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Builds a message; default values are left out, as in proto3. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];

  uint(field: number, value: number | bigint | undefined): this {
    const number = BigInt(value ?? 0);
    if (number !== 0n)
      this.#parts.push(varint(BigInt(field << 3) | BigInt(VARINT)), varint(BigInt.asUintN(64, number)));
    return this;
  }

  bool(field: number, value: boolean | undefined): this {
    return this.uint(field, value ? 1 : 0);
  }

  bytes(field: number, value: Uint8Array | undefined): this {
    return value && value.length > 0 ? this.message(field, value) : this;
  }

  text(field: number, value: string | undefined): this {
    return this.bytes(field, value === undefined ? undefined : Buffer.from(value));
  }

  /** Also an empty one: that it is there says something. */
  message(field: number, value: Uint8Array | undefined): this {
    if (value) this.#parts.push(varint(BigInt((field << 3) | BYTES)), varint(BigInt(value.length)), value);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** A received message: hostile. Fields by number, the last of a single one counting; bad bytes are invalid. */
export class MessageReader {
  readonly #fields = new Map<number, (bigint | Buffer)[]>();

  constructor(data: Uint8Array) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at < bytes.length; ) {
      const [tag, after] = readVarint(bytes, at);
      const [value, end] = readValue(bytes, after, Number(tag & 7n));
      const field = Number(tag >> 3n);
      const known = this.#fields.get(field);
      if (known) known.push(value);
      else this.#fields.set(field, [value]);
      at = end;
    }
  }

  #last(field: number): bigint | Buffer | undefined {
    return this.#fields.get(field)?.at(-1);
  }

  /** Of a uint32, uint64, bool or enum. */
  uint(field: number): number {
    const value = this.#last(field);
    return typeof value === "bigint" ? Number(value) : 0;
  }

  int64(field: number): bigint {
    const value = this.#last(field);
    return typeof value === "bigint" ? BigInt.asIntN(64, value) : 0n;
  }

  bytes(field: number): Buffer {
    const value = this.#last(field);
    return Buffer.isBuffer(value) ? value : Buffer.alloc(0);
  }

  text(field: number): string {
    return this.bytes(field).toString();
  }

  /** All values of a repeated field of bytes, text or messages. */
  all(field: number): Buffer[] {
    return (this.#fields.get(field) ?? []).filter(Buffer.isBuffer);
  }

  message(field: number): MessageReader | undefined {
    const value = this.#last(field);
    return Buffer.isBuffer(value) ? new MessageReader(value) : undefined;
  }

  /** `map<string, string>`. */
  map(field: number): Map<string, string> {
    return new Map(
      this.all(field).map((entry) => {
        const pair = new MessageReader(entry);
        return [pair.text(1), pair.text(2)];
      }),
    );
  }
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function readVarint(bytes: Buffer, start: number): [bigint, number] {
  let value = 0n;
  for (let at = start, shift = 0n; at < bytes.length && shift < 70n; at++, shift += 7n) {
    value |= BigInt(bytes[at]! & 0x7f) << shift;
    if (bytes[at]! < 0x80) return [value, at + 1];
  }
  throw invalid("a message that is no protocol buffer");
}

function readValue(bytes: Buffer, at: number, type: number): [bigint | Buffer, number] {
  if (type === VARINT) return readVarint(bytes, at);
  const [length, start] = type === BYTES ? readVarint(bytes, at) : [type === FIXED64 ? 8n : 4n, at];
  const end = start + Number(length);
  if ((type !== BYTES && type !== FIXED64 && type !== FIXED32) || end > bytes.length) {
    throw invalid("a message that is no protocol buffer");
  }
  return [bytes.subarray(start, end), end];
}
