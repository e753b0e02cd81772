import { constants } from "node:os";
import { syscallNumber } from "../linux/syscall-numbers.ts";
import { Data, type Label, type Operand, type Program, Slot } from "./ir.ts";

/**
 * A program in memory. Two segments at fixed addresses: code and rows, read and execute; slots and data, read and write.
 *
 *   row, 64 bytes:  0 u16 system call number   2 u8 kind        3 u8 mode        4 u8 mask of arguments that are slots
 *                   5 u8 slot of the result    6 u8 errno       7 u8 errno       8 u32 expected result, or ANY
 *                  12 u32 address of a row, or errno   16 u64 argument × 6
 */

export type Machine = "x86_64" | "aarch64";

export const ROW_SIZE = 64;
export const KIND = { call: 0, child: 1, store: 2, branch: 3, exit: 4, fail: 5 } as const;
/** Of a call: ignore every error. Of a branch: at most, not equal. */
export const MODE_ALL = 1;
export const ANY = 0xffff_ffff;
/** Takes the results that nobody asked for. */
export const TRASH_SLOT = 63;
export const SLOT_COUNT = 64;
/** After the slots: 8 bytes in which a failure record is made. */
export const RECORD_OFFSET = SLOT_COUNT * 8;
export const DATA_OFFSET = RECORD_OFFSET + 8;

export const CODE_ADDRESS = 0x40_0000;
export const DATA_ADDRESS = 0x60_0000;

export interface Image {
  rows: Uint8Array;
  data: Uint8Array;
}

/** Lays the program out; `rowsAddress` is where its first row will be. */
export function layout(program: Program, machine: Machine, rowsAddress: number): Image {
  const addresses = new Map<Data, number>();
  const chunks: { data: Data; at: number }[] = [];
  let end = DATA_OFFSET;
  const addressOf = (data: Data): number => {
    let at = addresses.get(data);
    if (at === undefined) {
      at = (end + 7) & ~7;
      end = at + data.bytes.length;
      addresses.set(data, at);
      chunks.push({ data, at });
      for (const [, to] of data.pointers) addressOf(to);
    }
    return DATA_ADDRESS + at;
  };
  const value = (operand: Operand): number | bigint => {
    if (typeof operand === "bigint" || typeof operand === "number") return operand;
    if (operand instanceof Slot) return operand.index;
    if (operand instanceof Data) return addressOf(operand);
    return addressOf(operand.data) + operand.offset;
  };
  /** Numbers of 32 bits, which most are, go without a bigint between. */
  const write = (number: number | bigint, at: number): void => {
    if (typeof number === "number" && (number | 0) === number) {
      rows.writeInt32LE(number, at);
      rows.writeInt32LE(number < 0 ? -1 : 0, at + 4);
    } else rows.writeBigUInt64LE(BigInt.asUintN(64, BigInt(number)), at);
  };
  const target = (label: Label): number => {
    if (label.row < 0) throw new RangeError(`label ${label.name} is not placed`);
    if (label.row >= program.rows.length) throw new RangeError(`label ${label.name} is after the last row`);
    return rowsAddress + label.row * ROW_SIZE;
  };

  const rows = Buffer.alloc(program.rows.length * ROW_SIZE);
  for (const [i, row] of program.rows.entries()) {
    const at = i * ROW_SIZE;
    const args = (operands: readonly Operand[]) => {
      if (operands.length > 6) throw new RangeError(`${row.kind} with ${operands.length} arguments`);
      let mask = 0;
      for (let n = 0; n < operands.length; n++) {
        const operand = operands[n]!;
        if (operand instanceof Slot) mask |= 1 << n;
        write(value(operand), at + 16 + n * 8);
      }
      rows[at + 4] = mask;
    };
    rows[at + 5] = TRASH_SLOT;
    rows.writeUInt32LE(ANY, at + 8);
    switch (row.kind) {
      case "call": {
        const number = syscallNumber(machine, row.call);
        if (number === undefined) throw new RangeError(`${machine} has no system call ${row.call}`);
        rows.writeUInt16LE(number, at);
        rows[at + 2] = row.child ? KIND.child : KIND.call;
        if (row.ignore === "all") rows[at + 3] = MODE_ALL;
        else {
          const most = row.child ? 2 : 3;
          if (row.ignore.length > most) throw new RangeError(`a row ignores at most ${most} errnos`);
          for (const [n, name] of row.ignore.entries()) {
            if (n < 2) rows[at + 6 + n] = constants.errno[name];
            else rows.writeUInt32LE(constants.errno[name], at + 12);
          }
        }
        if (row.into) rows[at + 5] = row.into.index;
        if (row.expect !== undefined) rows.writeUInt32LE(row.expect, at + 8);
        if (row.child) rows.writeUInt32LE(target(row.child), at + 12);
        args(row.args);
        break;
      }
      case "store":
        rows[at + 2] = KIND.store;
        write(row.from.index, at + 16);
        write(value(row.to), at + 24);
        break;
      case "branch":
        rows[at + 2] = KIND.branch;
        if (row.test === "at most") rows[at + 3] = MODE_ALL;
        rows.writeUInt32LE(target(row.to), at + 12);
        args([Number(value(row.slot)), row.than]);
        break;
      case "exit":
        rows[at + 2] = KIND.exit;
        write(value(row.status), at + 16);
        break;
      case "fail":
        rows[at + 2] = KIND.fail;
        write(constants.errno[row.errno], at + 16);
        break;
    }
  }

  const data = Buffer.alloc(end);
  data.writeBigInt64LE(BigInt(program.reportFd), program.report.index * 8);
  for (const { data: chunk, at } of chunks) {
    data.set(chunk.bytes, at);
    for (const [offset, to] of chunk.pointers) data.writeBigUInt64LE(BigInt(addressOf(to)), at + offset);
  }
  return { rows, data };
}
