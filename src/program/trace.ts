import { F_SETFD } from "../linux/constants.ts";
import type { SyscallName } from "../linux/signatures.ts";
import { Data, Label, Offset, type Operand, Program, type Row } from "./ir.ts";

/**
 * A program that times its own rows. A record goes to the descriptor at the start of each process, and after each row
 * that goes on to the next one:
 *
 *   0 u32 row, or START     4 u32 process: 0, or the number of the child     8 u64 seconds     16 u64 nanoseconds
 *
 * A successful execve, an exit and a jump that is taken leave none.
 */
const RECORD_SIZE = 24;
const TIME_OFFSET = 8;
const START = 0xffff_ffff;
const CLOCK_MONOTONIC = 1;
const FD_CLOEXEC = 1;

export class TracedProgram extends Program {
  /** Row of this program → row of the original; of an added one, the row that it times. */
  readonly origins: number[] = [];

  /** Row of the original program for `row` of a failure record. */
  originOf(row: number): number {
    return this.origins[row] ?? row;
  }
}

/**
 * `program` with its rows timed. `fd` is a pipe's end in the new process. The first process, which may stay for long,
 * closes it as the program says, and leaves no more records; a child's close_range spares it, and execve closes it.
 * Failing writes are ignored, but the reader has to stay until then: without one, SIGPIPE ends the process. So does a
 * seccomp filter that kills on clock_gettime or write.
 */
export function traced(program: Program, fd: number): TracedProgram {
  const copy = new TracedProgram(program.reportFd);
  copy.slots.push(...program.slots.slice(1));
  const owners = processes(program);
  const labels = new Map<Label, Label>();
  const moved = (label: Label) => {
    const to = labels.get(label) ?? new Label(label.name);
    labels.set(label, to);
    return to;
  };
  const add = (row: Row, origin: number) => {
    copy.rows.push(row);
    copy.origins.push(origin);
  };
  const call = (origin: number, name: SyscallName, ...args: Operand[]) => {
    const rest = { into: undefined, ignore: "all", expect: undefined, child: undefined } as const;
    add({ kind: "call", why: "trace", call: name, args, ...rest }, origin);
  };
  const record = (row: number, process: number, origin: number) => {
    const bytes = Buffer.alloc(RECORD_SIZE);
    bytes.writeUInt32LE(row, 0);
    bytes.writeUInt32LE(process, 4);
    const data = new Data(bytes, "trace record");
    call(origin, "clock_gettime", CLOCK_MONOTONIC, new Offset(data, TIME_OFFSET));
    call(origin, "write", fd, data, RECORD_SIZE);
  };
  const start = (process: number, origin: number) => {
    call(origin, "fcntl", fd, F_SETFD, FD_CLOEXEC);
    record(START, process, origin);
  };

  start(0, 0);
  const closed = new Set<number>();
  const starts: { label: Label; to: Label; process: number; origin: number }[] = [];
  const places: number[] = [];
  for (const [i, row] of program.rows.entries()) {
    places.push(copy.rows.length);
    const owner = owners[i] ?? 0;
    if (row.kind === "branch") add({ ...row, to: moved(row.to) }, i);
    else if (row.kind === "call" && row.child) {
      const label = new Label(`${row.child.name}, traced`);
      starts.push({ label, to: moved(row.child), process: owners[row.child.row] ?? 0, origin: i });
      add({ ...row, child: label }, i);
    } else if (owner !== 0 && row.kind === "call" && row.call === "close_range" && closes(row, fd)) {
      const [first, last] = row.args.map(Number) as [number, number];
      if (first < fd) add({ ...row, args: [first, fd - 1, 0] }, i);
      if (fd < last) add({ ...row, args: [fd + 1, last, 0] }, i);
    } else {
      add(row, i);
      // What is opened next may have the same number: a record must not go there.
      if (closes(row, fd)) closed.add(owner);
    }
    if (row.kind !== "exit" && row.kind !== "fail" && !closed.has(owner)) record(i, owner, i);
  }
  // A child reports its start on the way to its label, which others may jump to.
  for (const { label, to, process, origin } of starts) {
    copy.place(label);
    start(process, origin);
    add({ kind: "branch", why: "trace", slot: copy.report, test: "equal", than: copy.report, to }, origin);
  }
  for (const [label, to] of labels) to.row = label.row < 0 ? -1 : (places[label.row] ?? copy.rows.length);
  return copy;
}

function closes(row: Row, fd: number): boolean {
  if (row.kind !== "call") return false;
  const [first, second, third] = row.args;
  switch (row.call) {
    case "close":
      return first === fd;
    case "close_range":
      return Number(first) <= fd && fd <= Number(second) && third === 0;
    case "dup3":
      return second === fd;
    default:
      return false;
  }
}

/**
 * Which process runs each row: what the rows reach from row 0, then from each child's label. Nothing runs into such a
 * label from the row before, which may be one that never returns: exit_group, or a wait without end.
 */
function processes(program: Program): (number | undefined)[] {
  const owner: (number | undefined)[] = [];
  const children = new Set(program.rows.map((row) => (row.kind === "call" ? row.child?.row : undefined)));
  const todo = [{ row: 0, process: 0 }];
  let count = 0;
  for (let next = todo.shift(); next; next = todo.shift()) {
    const { process } = next;
    for (let at = next.row; at >= 0 && at < program.rows.length && owner[at] === undefined; at++) {
      if (at !== next.row && children.has(at)) break;
      owner[at] = process;
      const row = program.rows[at]!;
      if (row.kind === "exit" || row.kind === "fail") break;
      // Own jumps first: a row that both can reach belongs to the parent.
      if (row.kind === "branch") todo.unshift({ row: row.to.row, process });
      if (row.kind === "call" && row.child) todo.push({ row: row.child.row, process: ++count });
    }
  }
  return owner;
}

export interface RowTime {
  row: number;
  /** 0, or the number of the child. */
  process: number;
  /** Since the previous record of the same process: the row, jumps to it, and about 1 µs of tracing. */
  microseconds: number;
}

/** Durations from the records of a traced program, in the order of the records; an incomplete one at the end is dropped. */
export function readTrace(bytes: Uint8Array): RowTime[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const last = new Map<number, bigint>();
  const times: RowTime[] = [];
  for (let at = 0; at + RECORD_SIZE <= bytes.length; at += RECORD_SIZE) {
    const row = view.getUint32(at, true);
    const process = view.getUint32(at + 4, true);
    const now = view.getBigUint64(at + 8, true) * 1_000_000_000n + view.getBigUint64(at + 16, true);
    const before = last.get(process);
    last.set(process, now);
    if (row !== START && before !== undefined) times.push({ row, process, microseconds: Number(now - before) / 1000 });
  }
  return times;
}
