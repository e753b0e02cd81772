import { constants } from "node:os";
import * as k from "../linux/constants.ts";
import { type Flags, type Param, type ParamKind, SIGNATURES, type SyscallName } from "../linux/signatures.ts";
import { Data, Offset, type Operand, Slot } from "./ir.ts";

/** How the values in a program print: by name where there is one, as strace(1) writes them. */

const MAX_TEXT = 200;
/** Control characters and those that reorder text: a name out of an image must not drive the terminal. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Slots that earlier rows have stored into data, by offset. */
export type Stores = ReadonlyMap<Data, ReadonlyMap<number, Slot>>;

/** `text` as one safe line of at most `limit` characters. */
export function plain(text: string, limit = MAX_TEXT): string {
  const short = text.length > limit ? `${text.slice(0, limit)}...` : text;
  return short.replace(UNSAFE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** In quotes, bounded; `...` after the end says that there is more. */
export function quote(text: string): string {
  const more = text.length > MAX_TEXT ? "..." : "";
  // JSON escapes C0 only.
  return plain(JSON.stringify(text.slice(0, MAX_TEXT)), Number.POSITIVE_INFINITY) + more;
}

/** The text in `data`, if it is a NUL-terminated one. */
export function textOf(data: Data): string | undefined {
  const end = data.bytes.length - 1;
  return end >= 0 && Buffer.from(data.bytes).equals(Buffer.from(`${data.shown}\0`)) ? data.shown : undefined;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function bitCount(value: bigint): number {
  return value.toString(2).replaceAll("0", "").length;
}

function showFlags(value: bigint, flags: Flags["flags"]): string {
  let rest = BigInt.asUintN(64, value);
  const found: [name: string, bits: bigint][] = [];
  const all = Object.entries(flags).map(([name, bits]) => [name, BigInt(bits)] as const);
  // Flags of several bits first: O_TMPFILE holds O_DIRECTORY.
  for (const [name, bits] of all.toSorted((a, b) => bitCount(b[1]) - bitCount(a[1]))) {
    if (bits === 0n || (rest & bits) !== bits) continue;
    found.push([name, bits]);
    rest &= ~bits;
  }
  const names = found.sort((a, b) => (a[1] < b[1] ? -1 : 1)).map(([name]) => name);
  if (rest !== 0n || names.length === 0) names.push(rest === 0n ? "0" : hex(rest));
  return names.join("|");
}

const FILE_TYPES: Record<string, bigint> = {
  S_IFSOCK: BigInt(k.S_IFSOCK),
  S_IFLNK: BigInt(k.S_IFLNK),
  S_IFREG: BigInt(k.S_IFREG),
  S_IFBLK: BigInt(k.S_IFBLK),
  S_IFDIR: BigInt(k.S_IFDIR),
  S_IFCHR: BigInt(k.S_IFCHR),
  S_IFIFO: BigInt(k.S_IFIFO),
};

/** `0755`; `S_IFCHR|0666`. */
function showMode(value: bigint): string {
  const type = Object.entries(FILE_TYPES).find(([, bits]) => (value & BigInt(k.S_IFMT)) === bits)?.[0];
  const mode = type ? value & ~BigInt(k.S_IFMT) : value;
  return (type ? `${type}|` : "") + (mode === 0n ? "0" : `0${mode.toString(8)}`);
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [BigInt(number), name]));
// node:os lists aliases after the usual names.
for (const name of ["SIGABRT", "SIGIO", "SIGSYS"] as const) signalNames.set(BigInt(constants.signals[name]), name);

function showNumber(value: bigint, kind: ParamKind): string {
  if (typeof kind === "object") {
    if ("flags" in kind) return showFlags(value, kind.flags);
    const name = Object.entries(kind.choice).find(([, number]) => BigInt(number) === value)?.[0];
    return name ?? (value < 0n ? String(value) : hex(value));
  }
  switch (kind) {
    case "dirfd":
      return value === BigInt(k.AT_FDCWD) ? "AT_FDCWD" : String(value);
    case "path":
    case "text":
    case "pointer":
      return value === 0n ? "NULL" : hex(BigInt.asUintN(64, value));
    case "octal":
      return showMode(value);
    case "signal":
      return signalNames.get(value) ?? String(value);
    case "id":
      return value === 0xffff_ffffn ? "-1" : String(value);
    default:
      return String(value);
  }
}

/** `O_RDONLY` is 0 and has no bit that could name it. */
const openMode: Flags = { flags: { ...SIGNATURES.openat[2][1].flags, O_TMPFILE: k.O_TMPFILE } };
function showOpenFlags(value: bigint): string {
  const writes = value & BigInt(k.O_WRONLY | k.O_RDWR | k.O_PATH);
  if (writes !== 0n) return showFlags(value, openMode.flags);
  return value === 0n ? "O_RDONLY" : `O_RDONLY|${showFlags(value, openMode.flags)}`;
}

type Field = readonly [name: string, offset: number, kind: ParamKind | "open"];
const cloneFlags: Flags = {
  flags: {
    CLONE_VM: 0x100,
    CLONE_PIDFD: 0x1000,
    CLONE_VFORK: 0x4000,
    CLONE_PARENT: 0x8000,
    CLONE_CLEAR_SIGHAND: 0x1_0000_0000,
    ...SIGNATURES.unshare[0][1].flags,
  },
};
/** clone(2) has the exit signal in the lowest byte. */
function showCloneFlags(value: bigint): string {
  const signal = showNumber(value & 0xffn, "signal");
  const flags = value & ~0xffn;
  return flags === 0n ? signal : `${showFlags(flags, cloneFlags.flags)}|${signal}`;
}
const RESOLVE: Flags = {
  flags: {
    RESOLVE_NO_XDEV: k.RESOLVE_NO_XDEV,
    RESOLVE_NO_MAGICLINKS: k.RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS: k.RESOLVE_NO_SYMLINKS,
    RESOLVE_BENEATH: k.RESOLVE_BENEATH,
    RESOLVE_IN_ROOT: k.RESOLVE_IN_ROOT,
  },
};
const mountAttr: Flags = {
  flags: { ...SIGNATURES.fsmount[2][1].flags, MOUNT_ATTR__ATIME: k.MOUNT_ATTR__ATIME },
};

/** Structures that print field by field: call, parameter → fields, each of 8 bytes. */
const STRUCTS: { readonly [call: string]: Readonly<Record<string, readonly Field[]>> } = {
  // openat2(2), struct open_how
  openat2: {
    how: [
      ["flags", 0, "open"],
      ["mode", 8, "octal"],
      ["resolve", 16, RESOLVE],
    ],
  },
  // clone(2), struct clone_args
  clone3: {
    cl_args: [
      ["flags", 0, cloneFlags],
      ["pidfd", 8, "pointer"],
      ["child_tid", 16, "pointer"],
      ["parent_tid", 24, "pointer"],
      ["exit_signal", 32, "signal"],
      ["stack", 40, "pointer"],
      ["stack_size", 48, "size"],
      ["tls", 56, "pointer"],
      ["set_tid", 64, "pointer"],
      ["set_tid_size", 72, "size"],
      ["cgroup", 80, "fd"],
    ],
  },
  // mount_setattr(2), struct mount_attr
  mount_setattr: {
    attr: [
      ["attr_set", 0, mountAttr],
      ["attr_clr", 8, mountAttr],
      ["propagation", 16, SIGNATURES.mount[3][1]],
      ["userns_fd", 24, "fd"],
    ],
  },
};

/** `{flags=CLONE_NEWNS, cgroup=<cgroup>}`, without the fields that are 0. */
function showStruct(data: Data, fields: readonly Field[], stored: ReadonlyMap<number, Slot> | undefined): string {
  const view = Buffer.from(data.bytes.buffer, data.bytes.byteOffset, data.bytes.byteLength);
  const parts: string[] = [];
  for (const [name, offset, kind] of fields) {
    if (offset + 8 > view.length) break;
    const slot = stored?.get(offset);
    const pointer = data.pointers.find(([at]) => at === offset)?.[1];
    const value = view.readBigUInt64LE(offset);
    if (slot) parts.push(`${name}=${showSlot(slot)}`);
    else if (pointer) parts.push(`${name}=${showData(pointer)}`);
    else if (kind === "open") parts.push(`${name}=${showOpenFlags(value)}`);
    else if (value !== 0n) parts.push(`${name}=${showNumber(value, kind)}`);
  }
  return `{${parts.join(", ")}}`;
}

function showSlot(slot: Slot): string {
  return `<${plain(slot.name)}>`;
}

function showData(data: Data): string {
  const text = textOf(data);
  return text === undefined ? `{${plain(data.shown)}}` : quote(text);
}

/** A value outside of a call. */
export function showPlace(operand: Operand): string {
  if (operand instanceof Slot) return showSlot(operand);
  if (operand instanceof Data) return showData(operand);
  if (operand instanceof Offset) return `${showData(operand.data)}+${operand.offset}`;
  return String(operand);
}

/** `args[index]` of `call`, as its parameter says. */
export function showArgument(call: SyscallName, args: readonly Operand[], index: number, stores: Stores): string {
  const operand = args[index]!;
  const param: Param | undefined = SIGNATURES[call][index];
  if (operand instanceof Data && param) {
    const fields = STRUCTS[call]?.[param[0]];
    if (fields) return showStruct(operand, fields, stores.get(operand));
  }
  if (typeof operand === "object") return showPlace(operand);
  const value = BigInt(operand);
  if (call === "openat" && index === 2) return showOpenFlags(value);
  if (call === "prctl" && index === 1 && args[0] === k.PR_SET_PDEATHSIG) return showNumber(value, "signal");
  if (call === "clone" && index === 0) return showCloneFlags(value);
  return showNumber(value, param?.[1] ?? "int");
}
