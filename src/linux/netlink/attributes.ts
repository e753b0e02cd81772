/** Attributes of netlink messages (netlink(7), struct nlattr): pure. Numbers are the machine's own, little-endian. */

/** A type, and its value: bytes, or attributes inside. */
export type Attribute = readonly [type: number, value: Uint8Array | readonly Attribute[]];

const HEADER = 4;
const NLA_F_NESTED = 0x8000;
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const TYPE_MASK = 0x3fff;
const MAX_LENGTH = 0xffff;

export const align = (length: number): number => (length + 3) & ~3;

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.map(([type, value]) => {
      const nested = !(value instanceof Uint8Array);
      const bytes = nested ? encodeAttributes(value) : value;
      const length = HEADER + bytes.length;
      if (length > MAX_LENGTH) throw new RangeError(`netlink: attribute ${type} of ${bytes.length} bytes is too long`);
      const out = Buffer.alloc(align(length));
      out.writeUInt16LE(length, 0);
      out.writeUInt16LE(nested ? type | NLA_F_NESTED : type, 2);
      out.set(bytes, HEADER);
      return out;
    }),
  );
}

/** By type; of one that comes twice, the last. A length that does not fit is a RangeError. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (const { type, value } of attributesIn(bytes)) found.set(type, value);
  return found;
}

/** In their order, with the offset of each. */
export function* attributesIn(bytes: Buffer): Generator<{ type: number; offset: number; value: Buffer }> {
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < HEADER)
      throw new RangeError(`netlink: ${bytes.length - at} bytes after the last attribute`);
    const length = bytes.readUInt16LE(at);
    if (length < HEADER || length > bytes.length - at) {
      throw new RangeError(`netlink: an attribute of ${length} bytes where there are ${bytes.length - at}`);
    }
    yield { type: bytes.readUInt16LE(at + 2) & TYPE_MASK, offset: at, value: bytes.subarray(at + HEADER, at + length) };
    at += align(length);
  }
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}

/** Big-endian, as netfilter has its numbers. */
export function be32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

export function be64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}

/** NUL-terminated. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

/** Up to the NUL, if there is one. */
export function readText(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}
