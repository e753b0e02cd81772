import { invalid } from "../../base/errors.ts";

/** BPF_MAXINSNS (linux/bpf_common.h). */
export const MAX_INSTRUCTIONS = 4096;

// Opcodes of classic BPF that seccomp accepts (linux/filter.h).
const LD_W_ABS = 0x20;
const ALU_AND_K = 0x54;
const JMP_JA = 0x05;
const RET_K = 0x06;
export const JEQ = 0x15;
export const JGT = 0x25;
export const JGE = 0x35;

/** Where a jump goes: an instruction already emitted, or "return this value". */
export type Target = { readonly at: number } | { readonly ret: number };

// Conditional jumps reach 255 instructions; below that, room for what a jump itself still puts behind it.
const REACH = 250;

/**
 * Writes a classic BPF program from its last instruction to its first: cBPF only jumps forward, so every target is
 * known when a jump to it is made. A target out of a jump's reach gets a trampoline, a return another copy.
 */
export class BpfAssembler {
  // Parallel arrays, last instruction first.
  private readonly ops: number[] = [];
  private readonly jumps: number[] = [];
  private readonly ks: number[] = [];
  private readonly returns = new Map<number, number>();

  get length(): number {
    return this.ops.length;
  }

  private emit(op: number, jt: number, jf: number, k: number): Target {
    if (this.ops.length === MAX_INSTRUCTIONS) {
      throw invalid(`seccomp profile: the filter needs more than ${MAX_INSTRUCTIONS} instructions, the kernel's limit`);
    }
    this.ops.push(op);
    this.jumps.push(jt | (jf << 8));
    this.ks.push(k >>> 0);
    return { at: this.ops.length - 1 };
  }

  /** Position of an instruction that does what `target` says and can be reached from the next one. */
  private near(target: Target): number {
    if ("ret" in target) {
      const known = this.returns.get(target.ret);
      if (known !== undefined && this.length - known <= REACH) return known;
      this.emit(RET_K, 0, 0, target.ret);
      this.returns.set(target.ret, this.length - 1);
    } else {
      if (this.length - target.at <= REACH) return target.at;
      this.emit(JMP_JA, 0, 0, this.length - target.at - 1);
    }
    return this.length - 1;
  }

  /** Makes `target` what the next emitted instruction falls into. */
  private fallInto(target: Target): void {
    if ("ret" in target) {
      if (this.returns.get(target.ret) !== this.length - 1) {
        this.emit(RET_K, 0, 0, target.ret);
        this.returns.set(target.ret, this.length - 1);
      }
    } else if (target.at !== this.length - 1) {
      this.emit(JMP_JA, 0, 0, this.length - target.at - 1);
    }
  }

  /** Compares the accumulator with `k`; `op` is JEQ, JGT or JGE, unsigned. */
  jump(op: number, k: number, yes: Target, no: Target): Target {
    const jt = this.near(yes);
    const jf = this.near(no);
    return this.emit(op, this.length - jt - 1, this.length - jf - 1, k);
  }

  /** Accumulator = 32-bit word of struct seccomp_data at `offset`, and `mask`; then `next`. */
  load(offset: number, next: Target, mask = 0xffff_ffff): Target {
    this.fallInto(next);
    if (mask !== 0xffff_ffff) this.emit(ALU_AND_K, 0, 0, mask);
    return this.emit(LD_W_ABS, 0, 0, offset);
  }

  /** The program as struct sock_filter[] (8 bytes each, little-endian like every machine inro runs on). */
  finish(): Uint8Array {
    const code = new Uint8Array(this.length * 8);
    const view = new DataView(code.buffer);
    for (let i = 0; i < this.length; i++) {
      const from = this.length - 1 - i;
      view.setUint16(i * 8, this.ops[from]!, true);
      view.setUint16(i * 8 + 2, this.jumps[from]!, true);
      view.setUint32(i * 8 + 4, this.ks[from]!, true);
    }
    return code;
  }
}
