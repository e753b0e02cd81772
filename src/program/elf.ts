import { invalid } from "../base/errors.ts";
import * as arm64 from "./arm64.ts";
import { headersSize, PF_R, PF_W, PF_X, PT_LOAD, STACK, writeHeaders } from "./elf-header.ts";
import type { Program } from "./ir.ts";
import { CODE_ADDRESS, DATA_ADDRESS, layout, type Machine } from "./layout.ts";
import * as x86_64 from "./x86_64.ts";

/** A static executable of two segments. */

const CODE_OFFSET = headersSize(3);
const PAGE = { x86_64: 4096, aarch64: 65536 } as const;

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

  writeHeaders(file, {
    machine,
    entry: CODE_ADDRESS + CODE_OFFSET,
    page,
    segments: [
      { type: PT_LOAD, flags: PF_R | PF_X, offset: 0, address: CODE_ADDRESS, size: textSize },
      { type: PT_LOAD, flags: PF_R | PF_W, offset: dataOffset, address: DATA_ADDRESS, size: data.length },
      STACK,
    ],
  });
  file.set(code, CODE_OFFSET);
  file.set(rows, rowsOffset);
  file.set(data, dataOffset);
  return file;
}
