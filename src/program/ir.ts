import type { constants } from "node:os";
import { invalid } from "../base/errors.ts";
import type { SyscallName } from "../linux/signatures.ts";

/**
 * A program: the launch of a process as data. Rows are system calls in order; each says what it is for, so that the
 * same list can be printed, timed, tested as text, and encoded as an executable (elf.ts).
 *
 * The rows run on one interpreter (x86_64.ts, arm64.ts). Its rules:
 * - EINTR is retried. Any other error ends the program: it writes the record {row: u32, errno: u32} to slot 0, the
 *   report descriptor, and exits with status 255; unless the row says `ignore`.
 * - The result goes to the row's slot, errors as -errno.
 */

/** A place for a result, usable as an argument of later rows. */
export class Slot {
  constructor(
    readonly index: number,
    readonly name: string,
  ) {}
}

/** Memory of the program. Its address is known when it is encoded. */
export class Data {
  constructor(
    readonly bytes: Uint8Array,
    /** How it prints: the text itself, or what it holds. */
    readonly shown: string,
    /** Places inside that hold the address of other data (argv, struct iovec): offset → data. */
    readonly pointers: readonly (readonly [offset: number, to: Data])[] = [],
  ) {}
}

/** An address inside a {@link Data}. */
export class Offset {
  constructor(
    readonly data: Data,
    readonly offset: number,
  ) {}
}

/** A row to jump to; placed by {@link Program.place}. */
export class Label {
  row = -1;
  constructor(readonly name: string) {}
}

export type Operand = number | bigint | Slot | Data | Offset;

export type Errno = keyof typeof constants.errno;

interface Base {
  /** What it is for: the option or property that asked for it. */
  readonly why: string;
}
/** A system call; with `child` (clone3), the result 0 jumps there. */
export interface CallRow extends Base {
  readonly kind: "call";
  readonly call: SyscallName;
  readonly args: readonly Operand[];
  readonly into: Slot | undefined;
  readonly ignore: "all" | readonly Errno[];
  /** The only result that is no failure (a short write is EIO). */
  readonly expect: number | undefined;
  readonly child: Label | undefined;
}
/** Copies a slot (8 bytes) into data. */
export interface StoreRow extends Base {
  readonly kind: "store";
  readonly from: Slot;
  readonly to: Data | Offset;
}
/** Jumps if `slot` equals `than`, or is at most `than` (signed). */
export interface BranchRow extends Base {
  readonly kind: "branch";
  readonly slot: Slot;
  readonly test: "equal" | "at most";
  readonly than: Operand;
  readonly to: Label;
}
/** Exits as the wait status in `status` says: the code, or 128 + signal. */
export interface ExitRow extends Base {
  readonly kind: "exit";
  readonly status: Data;
}
/** Fails with this errno: the end of a list of tries. */
export interface FailRow extends Base {
  readonly kind: "fail";
  readonly call: SyscallName;
  readonly object: string;
  readonly errno: Errno;
}
export type Row = CallRow | StoreRow | BranchRow | ExitRow | FailRow;

export interface CallOptions {
  into?: Slot;
  ignore?: "all" | readonly Errno[];
  expect?: number;
  child?: Label;
}

export const MAX_SLOTS = 63;
/** The last slots go round: each serves a value that only the next few rows use. */
const TEMPORARY_SLOTS = 24;

export class Program {
  readonly rows: Row[] = [];
  readonly slots: Slot[] = [];
  readonly #texts = new Map<string, Data>();
  #temporaries = 0;
  /** Where failure records go; its value is the descriptor that the spawner put there. */
  readonly report: Slot;

  constructor(readonly reportFd: number) {
    this.report = this.slot("report");
  }

  slot(name: string): Slot {
    if (this.slots.length === MAX_SLOTS - TEMPORARY_SLOTS)
      throw invalid("a launch of more values than fit into its slots: the config asks for too much");
    const slot = new Slot(this.slots.length, name);
    this.slots.push(slot);
    return slot;
  }

  /** A slot for a value that is dead after the next {@link TEMPORARY_SLOTS} of these. */
  temporary(name: string): Slot {
    const index = MAX_SLOTS - TEMPORARY_SLOTS + (this.#temporaries++ % TEMPORARY_SLOTS);
    return new Slot(index, name);
  }

  /** NUL-terminated text; the same text is the same data. A NUL inside would silently cut it short. */
  text(value: string): Data {
    let data = this.#texts.get(value);
    if (!data) {
      if (value.includes("\0")) throw invalid(`text with a NUL: ${JSON.stringify(value.slice(0, 200))}`);
      data = new Data(Buffer.from(`${value}\0`), value);
      this.#texts.set(value, data);
    }
    return data;
  }

  bytes(value: Uint8Array, shown: string): Data {
    return new Data(value, shown);
  }

  /** Zeroed memory that rows write to. */
  room(size: number, shown: string): Data {
    return new Data(new Uint8Array(size), shown);
  }

  /** A NULL-terminated array of strings, as execve(2) takes it. */
  strings(values: readonly string[], shown: string): Data {
    const array = new Uint8Array((values.length + 1) * 8);
    return new Data(
      array,
      shown,
      values.map((value, i) => [i * 8, this.text(value)] as const),
    );
  }

  label(name: string): Label {
    return new Label(name);
  }

  /** The next row is where `label` points. */
  place(label: Label): void {
    label.row = this.rows.length;
  }

  call(why: string, call: SyscallName, args: readonly Operand[], options: CallOptions = {}): void {
    this.rows.push({
      kind: "call",
      why,
      call,
      args,
      into: options.into,
      ignore: options.ignore ?? [],
      expect: options.expect,
      child: options.child,
    });
  }

  /** A call whose result later rows use. */
  result(why: string, name: string, call: SyscallName, args: readonly Operand[], options: CallOptions = {}): Slot {
    const into = this.slot(name);
    this.call(why, call, args, { ...options, into });
    return into;
  }

  store(why: string, from: Slot, to: Data | Offset): void {
    this.rows.push({ kind: "store", why, from, to });
  }

  branch(why: string, slot: Slot, test: "equal" | "at most", than: Operand, to: Label): void {
    this.rows.push({ kind: "branch", why, slot, test, than, to });
  }

  exit(why: string, status: Data): void {
    this.rows.push({ kind: "exit", why, status });
  }

  fail(why: string, call: SyscallName, object: string, errno: Errno): void {
    this.rows.push({ kind: "fail", why, call, object, errno });
  }
}
