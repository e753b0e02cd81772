import { errnoOfName } from "../base/errors.ts";
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
      words[at >> 2] = number;
      words[(at >> 2) + 1] = number < 0 ? -1 : 0;
    } else longs[at >> 3] = BigInt.asUintN(64, BigInt(number));
  };
  const args = (kind: string, operands: readonly Operand[], at: number): void => {
    if (operands.length > 6) throw new RangeError(`${kind} with ${operands.length} arguments`);
    let mask = 0;
    for (let n = 0; n < operands.length; n++) {
      const operand = operands[n]!;
      if (operand instanceof Slot) mask |= 1 << n;
      write(value(operand), at + 16 + n * 8);
    }
    rows[at + 4] = mask;
  };
  const target = (label: Label): number => {
    if (label.row < 0) throw new RangeError(`label ${label.name} is not placed`);
    if (label.row >= program.rows.length) throw new RangeError(`label ${label.name} is after the last row`);
    return rowsAddress + label.row * ROW_SIZE;
  };

  // Little-endian, as both machines are: plain stores, since this runs once in a process that has just started.
  const rows = new Uint8Array(program.rows.length * ROW_SIZE);
  const words = new Int32Array(rows.buffer);
  const longs = new BigUint64Array(rows.buffer);
  for (let i = 0; i < program.rows.length; i++) {
    const row = program.rows[i]!;
    const at = i * ROW_SIZE;
    rows[at + 5] = TRASH_SLOT;
    words[(at + 8) >> 2] = ANY;
    switch (row.kind) {
      case "call": {
        const number = syscallNumber(machine, row.call);
        if (number === undefined) throw new RangeError(`${machine} has no system call ${row.call}`);
        rows[at] = number & 255;
        rows[at + 1] = number >> 8;
        rows[at + 2] = row.child ? KIND.child : KIND.call;
        if (row.ignore === "all") rows[at + 3] = MODE_ALL;
        else {
          const most = row.child ? 2 : 3;
          if (row.ignore.length > most) throw new RangeError(`a row ignores at most ${most} errnos`);
          for (let n = 0; n < row.ignore.length; n++) {
            const errno = errnoOfName(row.ignore[n]!)!;
            if (n < 2) rows[at + 6 + n] = errno;
            else words[(at + 12) >> 2] = errno;
          }
        }
        if (row.into) rows[at + 5] = row.into.index;
        if (row.expect !== undefined) words[(at + 8) >> 2] = row.expect;
        if (row.child) words[(at + 12) >> 2] = target(row.child);
        args(row.kind, row.args, at);
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
        words[(at + 12) >> 2] = target(row.to);
        args(row.kind, [row.slot.index, row.than], at);
        break;
      case "exit":
        rows[at + 2] = KIND.exit;
        write(value(row.status), at + 16);
        break;
      case "fail":
        rows[at + 2] = KIND.fail;
        write(errnoOfName(row.errno)!, at + 16);
        break;
    }
  }

  const data = new Uint8Array((end + 7) & ~7);
  const pointers = new Int32Array(data.buffer);
  pointers[program.report.index * 2] = program.reportFd;
  for (const { data: chunk, at } of chunks) {
    data.set(chunk.bytes, at);
    for (const [offset, to] of chunk.pointers) pointers[(at + offset) >> 2] = addressOf(to);
  }
  return { rows, data };
}
