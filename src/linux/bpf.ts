import { errnoName, SysError } from "../base/errors.ts";
import { sys, trySys } from "./call.ts";
import { bytes, room, scratch, str } from "./ffi.ts";

/** bpf(2) for programs that hang on a cgroup: encoding, loading, attaching (linux/bpf.h, linux/bpf_common.h). */

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_QUERY = 16;

export const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
export const BPF_CGROUP_DEVICE = 6;
export const BPF_F_ALLOW_MULTI = 2;
export const BPF_F_REPLACE = 4;

/** Registers: r0 holds the result, r1 the context at the start. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

/** One instruction as `struct bpf_insn` has it: 8 bytes. Jump offsets count from the next instruction. */
function instruction(code: number, dst: Register, src: Register, offset: number, immediate: number): Uint8Array {
  const data = Buffer.alloc(8);
  data[0] = code;
  data[1] = (src << 4) | dst;
  data.writeInt16LE(offset, 2);
  data.writeInt32LE(immediate | 0, 4);
  return data;
}

/** The few instructions that filters need; all arithmetic and comparing is on 32 bits. */
export const bpf = {
  /** dst = *(u32 *)(src + offset) */
  load32: (dst: Register, src: Register, offset: number) => instruction(0x61, dst, src, offset, 0),
  move: (dst: Register, src: Register) => instruction(0xbc, dst, src, 0, 0),
  set: (dst: Register, value: number) => instruction(0xb4, dst, 0, 0, value),
  and: (dst: Register, mask: number) => instruction(0x54, dst, 0, 0, mask),
  shiftRight: (dst: Register, bits: number) => instruction(0x74, dst, 0, 0, bits),
  jump: (offset: number) => instruction(0x05, 0, 0, offset, 0),
  jumpIfNot: (dst: Register, value: number, offset: number) => instruction(0x56, dst, 0, offset, value),
  jumpIfAny: (dst: Register, mask: number, offset: number) => instruction(0x46, dst, 0, offset, mask),
  exit: () => instruction(0x95, 0, 0, 0, 0),
};

const LOG_SIZE = 65536;

/**
 * BPF_PROG_LOAD. `name`: up to 15 characters of `[A-Za-z0-9_.]`, shown by bpftool. Returns a descriptor (CLOEXEC) that
 * the caller closes; an attached program lives on without it. A refusal is a SysError that ends in the verifier's words.
 */
export function loadProgram(options: { type: number; attachType: number; name: string; code: Uint8Array }): number {
  return scratch(() => {
    const { address, view } = room(72);
    view.writeUInt32LE(options.type, 0);
    view.writeUInt32LE(options.code.length / 8, 4);
    view.writeBigUInt64LE(BigInt(bytes(options.code)), 8);
    view.writeBigUInt64LE(BigInt(str("GPL")), 16);
    view.write(options.name.slice(0, 15), 48, "latin1");
    view.writeUInt32LE(options.attachType, 68);
    const fd = trySys("bpf", BPF_PROG_LOAD, address, 72);
    if (fd >= 0) return fd;
    throw new SysError(
      "load bpf program",
      options.name,
      -fd,
      hint(-fd, () => verifierLog(address, view)),
    );
  });
}

/** The log costs the verifier time, so it is asked for only after a refusal. */
function verifierLog(address: number, view: Buffer): string {
  const log = room(LOG_SIZE);
  view.writeUInt32LE(1, 24);
  view.writeUInt32LE(LOG_SIZE, 28);
  view.writeBigUInt64LE(BigInt(log.address), 32);
  const again = trySys("bpf", BPF_PROG_LOAD, address, 72);
  if (again >= 0) sys("close", "", again);
  const end = log.view.indexOf(0);
  return log.view.toString("utf8", 0, end < 0 ? LOG_SIZE : end).trim();
}

function hint(errno: number, log: () => string): string | undefined {
  switch (errnoName(errno)) {
    case "ENOSYS":
      return "the kernel has no bpf(2)";
    case "EPERM":
      return "needs CAP_BPF and CAP_NET_ADMIN, or a higher memlock limit before Linux 5.11";
    default: {
      const text = log();
      return text === "" ? "the kernel may lack CONFIG_CGROUP_BPF" : `verifier: ${text.slice(-2000)}`;
    }
  }
}

/** BPF_PROG_ATTACH to an open cgroup2 directory. `replace`: the descriptor of the attached program to exchange, atomically. */
export function attachProgram(options: {
  cgroupFd: number;
  cgroup: string;
  programFd: number;
  attachType: number;
  replace?: number;
}): void {
  scratch(() => {
    const { address, view } = room(24);
    view.writeInt32LE(options.cgroupFd, 0);
    view.writeInt32LE(options.programFd, 4);
    view.writeUInt32LE(options.attachType, 8);
    view.writeUInt32LE(BPF_F_ALLOW_MULTI | (options.replace === undefined ? 0 : BPF_F_REPLACE), 12);
    view.writeInt32LE(options.replace ?? 0, 16);
    const result = trySys("bpf", BPF_PROG_ATTACH, address, 20);
    if (result < 0) {
      const why = errnoName(-result) === "EPERM" ? "a cgroup above has a program that allows no others" : undefined;
      throw new SysError("attach bpf program to", options.cgroup, -result, why);
    }
  });
}

/** BPF_PROG_DETACH; removing the cgroup does it too. */
export function detachProgram(options: {
  cgroupFd: number;
  cgroup: string;
  programFd: number;
  attachType: number;
}): void {
  scratch(() => {
    const { address, view } = room(24);
    view.writeInt32LE(options.cgroupFd, 0);
    view.writeInt32LE(options.programFd, 4);
    view.writeUInt32LE(options.attachType, 8);
    sys("bpf", `detach from ${options.cgroup}`, BPF_PROG_DETACH, address, 20);
  });
}

/** BPF_PROG_QUERY: ids of the programs attached to this very cgroup (not those it inherits), oldest first, up to 64. */
export function attachedPrograms(cgroupFd: number, attachType: number): number[] {
  return scratch(() => {
    const ids = room(64 * 4);
    const { address, view } = room(32);
    view.writeInt32LE(cgroupFd, 0);
    view.writeUInt32LE(attachType, 4);
    view.writeBigUInt64LE(BigInt(ids.address), 16);
    view.writeUInt32LE(64, 24);
    sys("bpf", "query cgroup", BPF_PROG_QUERY, address, 32);
    return Array.from({ length: Math.min(view.readUInt32LE(24), 64) }, (_, i) => ids.view.readUInt32LE(i * 4));
  });
}
