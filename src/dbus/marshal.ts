import { invalid } from "../base/errors.ts";
import { ALIGNMENT, parseSignature, type Type } from "./signature.ts";

/**
 * A value of D-Bus: bigint for 64-bit integers, number for the others and doubles, string for object paths and
 * signatures too, an array for arrays, structs and dictionary entries.
 */
export type Value = number | bigint | boolean | string | Variant | Value[];

export interface Variant {
  signature: string;
  value: Value;
}

/** D-Bus specification, "Valid Object Paths", and its bounds. */
const MAX_ARRAY = 1 << 26;
const MAX_DEPTH = 64;

const RANGES: Readonly<Record<string, [min: number, max: number]>> = {
  y: [0, 0xff],
  n: [-0x8000, 0x7fff],
  q: [0, 0xffff],
  i: [-0x8000_0000, 0x7fff_ffff],
  u: [0, 0xffff_ffff],
};

/** Writes values in little-endian, as D-Bus specification, "Marshaling". A value of another type is an invalid-argument error. */
export class Writer {
  #buffer = Buffer.alloc(256);
  #length = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  pad(alignment: number): void {
    this.#room((alignment - (this.#length % alignment)) % alignment);
  }

  /** Values of a whole signature. */
  body(signature: string, values: readonly Value[]): void {
    const types = parseSignature(signature);
    if (types.length !== values.length) throw invalid(`D-Bus: ${values.length} values for the signature ${signature}`);
    types.forEach((type, i) => {
      this.value(type, values[i]!);
    });
  }

  value(type: Type, value: Value): void {
    const wrong = () => invalid(`D-Bus: ${String(value).slice(0, 40)} is no value of type ${type.code}`);
    this.pad(ALIGNMENT[type.code]!);
    const range = RANGES[type.code];
    if (range) {
      if (typeof value !== "number" || !Number.isInteger(value) || value < range[0] || value > range[1]) throw wrong();
      this.#integer(type.code, value);
      return;
    }
    switch (type.code) {
      case "b":
        if (typeof value !== "boolean") throw wrong();
        this.#integer("u", value ? 1 : 0);
        return;
      case "x":
      case "t": {
        const min = type.code === "x" ? -(2n ** 63n) : 0n;
        const max = type.code === "x" ? 2n ** 63n : 2n ** 64n;
        if (typeof value !== "bigint" || value < min || value >= max) throw wrong();
        const at = this.#room(8);
        if (type.code === "x") this.#buffer.writeBigInt64LE(value, at);
        else this.#buffer.writeBigUInt64LE(value, at);
        return;
      }
      case "d": {
        if (typeof value !== "number") throw wrong();
        const at = this.#room(8);
        this.#buffer.writeDoubleLE(value, at);
        return;
      }
      case "s":
      case "o":
      case "g":
        if (typeof value !== "string" || value.includes("\0")) throw wrong();
        if (type.code === "o" && !/^\/$|^(\/[A-Za-z0-9_]+)+$/.test(value)) throw wrong();
        if (type.code === "g") parseSignature(value);
        this.#string(value, type.code === "g");
        return;
      case "v": {
        const { signature, value: inside } = value as Variant;
        const types = parseSignature(signature ?? "");
        if (types.length !== 1) throw wrong();
        this.#string(signature, true);
        this.value(types[0]!, inside);
        return;
      }
      case "a": {
        if (!Array.isArray(value)) throw wrong();
        const at = this.#room(4);
        this.pad(ALIGNMENT[type.inner[0]!.code]!);
        const start = this.#length;
        for (const item of value) this.value(type.inner[0]!, item);
        if (this.#length - start > MAX_ARRAY) throw wrong();
        this.#buffer.writeUInt32LE(this.#length - start, at);
        return;
      }
      default:
        if (!Array.isArray(value) || value.length !== type.inner.length) throw wrong();
        type.inner.forEach((inner, i) => {
          this.value(inner, value[i]!);
        });
    }
  }

  #integer(code: string, value: number): void {
    const size = ALIGNMENT[code]!;
    const at = this.#room(size);
    if (code === "n" || code === "i") this.#buffer.writeIntLE(value, at, size);
    else this.#buffer.writeUIntLE(value, at, size);
  }

  #string(text: string, short: boolean): void {
    const bytes = Buffer.from(text);
    this.#integer(short ? "y" : "u", bytes.length);
    const at = this.#room(bytes.length + 1);
    bytes.copy(this.#buffer, at);
  }

  /** Zeroed bytes at the end; where they are. */
  #room(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

/** Reads values of either byte order. What is cut short or malformed is an invalid-argument error. */
export class Reader {
  constructor(
    readonly bytes: Buffer,
    readonly little: boolean,
    public at = 0,
  ) {}

  body(signature: string): Value[] {
    return parseSignature(signature).map((type) => this.value(type, 0));
  }

  align(alignment: number): void {
    this.#take((alignment - (this.at % alignment)) % alignment);
  }

  value(type: Type, depth: number): Value {
    if (depth > MAX_DEPTH) throw malformed("nested too deep");
    const alignment = ALIGNMENT[type.code]!;
    this.align(alignment);
    switch (type.code) {
      case "y":
      case "q":
      case "u":
        return this.#unsigned(alignment);
      case "n":
      case "i": {
        const at = this.#take(alignment);
        return this.little ? this.bytes.readIntLE(at, alignment) : this.bytes.readIntBE(at, alignment);
      }
      case "b": {
        const value = this.#unsigned(4);
        if (value > 1) throw malformed("a boolean is neither 0 nor 1");
        return value === 1;
      }
      case "x": {
        const at = this.#take(8);
        return this.little ? this.bytes.readBigInt64LE(at) : this.bytes.readBigInt64BE(at);
      }
      case "t": {
        const at = this.#take(8);
        return this.little ? this.bytes.readBigUInt64LE(at) : this.bytes.readBigUInt64BE(at);
      }
      case "d": {
        const at = this.#take(8);
        return this.little ? this.bytes.readDoubleLE(at) : this.bytes.readDoubleBE(at);
      }
      case "s":
      case "o":
        return this.#string(this.#unsigned(4));
      case "g":
        return this.#string(this.#unsigned(1));
      case "v": {
        const signature = this.#string(this.#unsigned(1));
        const types = parseSignature(signature);
        if (types.length !== 1) throw malformed("a variant of not one type");
        return { signature, value: this.value(types[0]!, depth + 1) };
      }
      case "a": {
        const length = this.#unsigned(4);
        if (length > MAX_ARRAY) throw malformed("an array over 64 MiB");
        this.align(ALIGNMENT[type.inner[0]!.code]!);
        const end = this.at + length;
        if (end > this.bytes.length) throw malformed("cut short");
        const items: Value[] = [];
        while (this.at < end) items.push(this.value(type.inner[0]!, depth + 1));
        if (this.at !== end) throw malformed("an array's end is inside a value");
        return items;
      }
      default:
        return type.inner.map((inner) => this.value(inner, depth + 1));
    }
  }

  #unsigned(size: number): number {
    const at = this.#take(size);
    return this.little ? this.bytes.readUIntLE(at, size) : this.bytes.readUIntBE(at, size);
  }

  #string(length: number): string {
    const at = this.#take(length + 1);
    if (this.bytes[at + length] !== 0) throw malformed("a string without its NUL");
    return this.bytes.toString("utf8", at, at + length);
  }

  #take(size: number): number {
    const at = this.at;
    if (at + size > this.bytes.length) throw malformed("cut short");
    this.at += size;
    return at;
  }
}

const malformed = (why: string) => invalid(`D-Bus message: ${why}`);
