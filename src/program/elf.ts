import { invalid } from "../base/errors.ts";
import * as arm64 from "./arm64.ts";
import type { Program } from "./ir.ts";
import { CODE_ADDRESS, DATA_ADDRESS, layout, type Machine } from "./layout.ts";
import * as x86_64 from "./x86_64.ts";

/** elf(5): a static executable of two segments, with no sections and a stack that is not executable. */

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SEGMENTS = 3;
const CODE_OFFSET = HEADER_SIZE + SEGMENTS * PROGRAM_HEADER_SIZE;
const PAGE = { x86_64: 4096, aarch64: 65536 } as const;
const EM = { x86_64: 62, aarch64: 183 } as const;
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;

/** Where the rows begin: after the headers and the longer of the two interpreters. */
const ROWS_OFFSET = 1024;

/** The interpreter does not depend on the program. */
const interpreters = new Map<Machine, { code: Uint8Array; rowsAddress: number }>();

export function interpreterOf(machine: Machine): { code: Uint8Array; rowsAddress: number } {
  let known = interpreters.get(machine);
  if (!known) {
    const { interpreter } = machine === "x86_64" ? x86_64 : arm64;
    const rowsAddress = CODE_ADDRESS + ROWS_OFFSET;
    known = { code: interpreter(rowsAddress), rowsAddress };
    if (CODE_OFFSET + known.code.length > ROWS_OFFSET) throw new RangeError("the interpreter reaches the rows");
    interpreters.set(machine, known);
  }
  return known;
}

/** The whole executable file. */
export function encode(program: Program, machine: Machine): Uint8Array {
  const { code, rowsAddress } = interpreterOf(machine);
  const { rows, data } = layout(program, machine, rowsAddress);
  const rowsOffset = rowsAddress - CODE_ADDRESS;
  const textSize = rowsOffset + rows.length;
  if (textSize > DATA_ADDRESS - CODE_ADDRESS)
    throw invalid(`a launch of ${program.rows.length} system calls is too long: the config asks for too much`);
  const page = PAGE[machine];
  const dataOffset = Math.ceil(textSize / page) * page;
  const file = Buffer.alloc(dataOffset + data.length);

  file.write("\x7fELF", 0, "latin1");
  file.set([2, 1, 1], 4); // 64 bits, little-endian, version 1
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(EM[machine], 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(CODE_ADDRESS + CODE_OFFSET), 24);
  file.writeBigUInt64LE(BigInt(HEADER_SIZE), 32);
  file.writeUInt16LE(HEADER_SIZE, 52);
  file.writeUInt16LE(PROGRAM_HEADER_SIZE, 54);
  file.writeUInt16LE(SEGMENTS, 56);

  const segment = (n: number, type: number, flags: number, offset: number, address: number, size: number) => {
    const at = HEADER_SIZE + n * PROGRAM_HEADER_SIZE;
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(flags, at + 4);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(BigInt(address), at + 16);
    file.writeBigUInt64LE(BigInt(address), at + 24);
    file.writeBigUInt64LE(BigInt(size), at + 32);
    file.writeBigUInt64LE(BigInt(size), at + 40);
    file.writeBigUInt64LE(BigInt(page), at + 48);
  };
  segment(0, PT_LOAD, PF_R | PF_X, 0, CODE_ADDRESS, textSize);
  segment(1, PT_LOAD, PF_R | PF_W, dataOffset, DATA_ADDRESS, data.length);
  segment(2, PT_GNU_STACK, PF_R | PF_W, 0, 0, 0);
  file.set(code, CODE_OFFSET);
  file.set(rows, rowsOffset);
  file.set(data, dataOffset);
  return file;
}
