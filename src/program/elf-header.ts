import type { Machine } from "./layout.ts";

/** elf(5): the headers of a static executable, with no sections. */

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const EM: Record<Machine, number> = { x86_64: 62, aarch64: 183 };

export const PT_LOAD = 1;
export const PT_GNU_STACK = 0x6474e551;
export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

/** A program header; addresses and sizes in bytes. */
export interface Segment {
  type: number;
  flags: number;
  offset: number;
  address: number;
  size: number;
}

/** A stack that is not executable. */
export const STACK: Segment = { type: PT_GNU_STACK, flags: PF_R | PF_W, offset: 0, address: 0, size: 0 };

/** Bytes at the beginning of a file with so many segments. */
export const headersSize = (segments: number): number => HEADER_SIZE + segments * PROGRAM_HEADER_SIZE;

/** Writes them; `page` is what segments are aligned to. */
export function writeHeaders(
  file: Buffer,
  { machine, entry, page, segments }: { machine: Machine; entry: number; page: number; segments: readonly Segment[] },
): void {
  file.write("\x7fELF", 0, "latin1");
  file.set([2, 1, 1], 4); // 64 bits, little-endian, version 1
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(EM[machine], 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(entry), 24);
  file.writeBigUInt64LE(BigInt(HEADER_SIZE), 32);
  file.writeUInt16LE(HEADER_SIZE, 52);
  file.writeUInt16LE(PROGRAM_HEADER_SIZE, 54);
  file.writeUInt16LE(segments.length, 56);
  segments.forEach(({ type, flags, offset, address, size }, i) => {
    const at = headersSize(i);
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(flags, at + 4);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(BigInt(address), at + 16);
    file.writeBigUInt64LE(BigInt(address), at + 24);
    file.writeBigUInt64LE(BigInt(size), at + 32);
    file.writeBigUInt64LE(BigInt(size), at + 40);
    file.writeBigUInt64LE(BigInt(page), at + 48);
  });
}
