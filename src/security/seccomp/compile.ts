import { sha256 } from "../../base/digest.ts";
import { invalid } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { type Abi, X32_BIT } from "../../linux/syscall-numbers.ts";
import type { Seccomp } from "../../spec/oci-runtime.ts";
import { KILL_PROCESS } from "./actions.ts";
import { BpfAssembler, JEQ, JGE, JGT, type Target } from "./bpf.ts";
import { type Comparison, type Decision, isWide, memo, type Segment, segments } from "./decisions.ts";

export interface Filter {
  /** struct sock_filter[], native endian; shared with other callers: not to be written to. */
  readonly code: Uint8Array;
  /** Instructions in it. */
  readonly count: number;
  /** SECCOMP_FILTER_FLAG_* for seccomp(2). */
  readonly flags: number;
  /** seccomp(2) returns a listener descriptor, since some rule says NOTIFY. */
  readonly listener: boolean;
}

/** The ABIs of a machine by its main one: SCMP_ARCH name, AUDIT_ARCH value (linux/audit.h). */
const FAMILIES: readonly (readonly { abi: Abi; scmp: string; audit: number }[])[] = [
  [
    { abi: "x86_64", scmp: "SCMP_ARCH_X86_64", audit: 0xc000_003e },
    { abi: "x32", scmp: "SCMP_ARCH_X32", audit: 0xc000_003e },
    { abi: "i386", scmp: "SCMP_ARCH_X86", audit: 0x4000_0003 },
  ],
  [
    { abi: "aarch64", scmp: "SCMP_ARCH_AARCH64", audit: 0xc000_00b7 },
    { abi: "arm", scmp: "SCMP_ARCH_ARM", audit: 0x4000_0028 },
  ],
];

// struct seccomp_data (linux/seccomp.h), little-endian.
const NR = 0;
const ARCH = 4;
const argument = (index: number, half: "lo" | "hi") => 16 + index * 8 + (half === "hi" ? 4 : 0);

const CACHE_SIZE = 64;
const cache = new Map<string, Filter>();

/**
 * Compiles a resolved profile into a seccomp filter for a machine whose native ABI is `abi`. The native ABI is always
 * in it, others of the same machine when `architectures` names them; a call through any other ABI ends the process
 * (libseccomp would end the thread, which leaves a half-dead process behind). What rules mean: see `segments`. Unknown
 * call names are skipped. Filters are cached by the profile's content. Too large a profile or one that cannot be
 * installed is an invalid-argument error.
 */
export function compileFilter(seccomp: Seccomp, abi: Abi): Filter {
  const key = sha256(abi + serialize(seccomp));
  let filter = cache.get(key);
  if (filter) {
    cache.delete(key);
  } else {
    filter = compileUncached(seccomp, abi);
    if (cache.size === CACHE_SIZE) cache.delete(cache.keys().next().value!);
  }
  cache.set(key, filter);
  return filter;
}

function serialize(seccomp: Seccomp): string {
  const hasBig = seccomp.syscalls?.some((rule) => rule.args?.some((arg) => isBig(arg.value) || isBig(arg.valueTwo)));
  // A replacer costs more than all the rest, and hardly any profile needs it.
  return hasBig ? JSON.stringify(seccomp, (_, v) => (isBig(v) ? `${v}n` : v)) : JSON.stringify(seccomp);
}

const isBig = (value: unknown) => typeof value === "bigint";

/** {@link compileFilter} without the cache. */
export function compileUncached(seccomp: Seccomp, abi: Abi): Filter {
  const family = FAMILIES.find((f) => f.some((member) => member.abi === abi))!;
  const wanted = family.filter((m) => m.abi === abi || seccomp.architectures?.includes(m.scmp));
  const asm = new BpfAssembler();
  let next: Target = { ret: KILL_PROCESS };
  // Written from the end, so the ABI that most calls use comes last, which puts its test first.
  for (const audit of [...new Set(wanted.map((m) => m.audit))].sort((a, b) => a - b)) {
    const members = wanted.filter((m) => m.audit === audit).map((m) => m.abi);
    const numbers = asm.load(NR, callTree(asm, seccomp, members));
    next = asm.jump(JEQ, audit, numbers, next);
  }
  asm.load(ARCH, next);

  const listener = usesNotify(seccomp);
  return { code: asm.finish(), count: asm.length, flags: flagsOf(seccomp, listener), listener };
}

/** The decision about a call number in the accumulator, for the ABIs (x86_64, x32, both, or one) of one audit arch. */
function callTree(asm: BpfAssembler, seccomp: Seccomp, abis: Abi[]): Target {
  const tree = (abi: Abi, first: number) => searchTree(asm, segments(seccomp, abi, first), isWide(abi));
  if (!abis.includes("x86_64") && !abis.includes("x32")) return tree(abis[0]!, 0);
  const native = abis.includes("x86_64") ? tree("x86_64", 0) : { ret: KILL_PROCESS };
  // -1 is no x32 call but one that a tracer took back.
  const x32 = abis.includes("x32") ? tree("x32", X32_BIT) : asm.jump(JEQ, 0xffff_ffff, native, { ret: KILL_PROCESS });
  return asm.jump(JGE, X32_BIT, x32, native);
}

/** Binary search over the segments, down to their decisions. */
function searchTree(asm: BpfAssembler, list: readonly Segment[], wide: boolean): Target {
  const made = new Map<Decision, Target>();
  const leaf = (decision: Decision) => memo(made, decision, () => decisionCode(asm, decision, wide));
  const search = (from: number, to: number): Target => {
    if (to - from === 1) return leaf(list[from]!.decision);
    const middle = (from + to) >> 1;
    const above = search(middle, to);
    const below = search(from, middle);
    return asm.jump(JGE, list[middle]!.from, above, below);
  };
  return search(0, list.length);
}

function decisionCode(asm: BpfAssembler, decision: Decision, wide: boolean): Target {
  let next: Target = { ret: decision.otherwise };
  for (const clause of decision.clauses.toReversed()) {
    let target: Target = { ret: clause.action };
    for (const c of clause.when.toReversed()) target = comparisonCode(asm, c, wide, target, next);
    next = target;
  }
  return next;
}

function comparisonCode(asm: BpfAssembler, c: Comparison, wide: boolean, yes: Target, no: Target): Target {
  const full = wide ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
  switch (c.op) {
    case "SCMP_CMP_EQ":
      return equal(asm, c.index, full, c.value, yes, no);
    case "SCMP_CMP_NE":
      return equal(asm, c.index, full, c.value, no, yes);
    case "SCMP_CMP_MASKED_EQ":
      return equal(asm, c.index, c.value, c.valueTwo, yes, no);
    case "SCMP_CMP_GT":
      return above(asm, c.index, JGT, c.value, wide, yes, no);
    case "SCMP_CMP_GE":
      return above(asm, c.index, JGE, c.value, wide, yes, no);
    case "SCMP_CMP_LE":
      return above(asm, c.index, JGT, c.value, wide, no, yes);
    case "SCMP_CMP_LT":
      return above(asm, c.index, JGE, c.value, wide, no, yes);
  }
}

const low = (value: bigint) => Number(value & 0xffff_ffffn);
const high = (value: bigint) => Number(value >> 32n);

function equal(asm: BpfAssembler, index: number, mask: bigint, value: bigint, yes: Target, no: Target): Target {
  let target = yes;
  if (low(mask) !== 0) target = asm.load(argument(index, "lo"), asm.jump(JEQ, low(value), target, no), low(mask));
  if (high(mask) !== 0) target = asm.load(argument(index, "hi"), asm.jump(JEQ, high(value), target, no), high(mask));
  return target;
}

function above(asm: BpfAssembler, index: number, op: number, value: bigint, wide: boolean, yes: Target, no: Target) {
  const lo = asm.load(argument(index, "lo"), asm.jump(op, low(value), yes, no));
  if (!wide) return lo;
  const undecided = asm.jump(JEQ, high(value), lo, no);
  return asm.load(argument(index, "hi"), asm.jump(JGT, high(value), yes, undecided));
}

function usesNotify(seccomp: Seccomp): boolean {
  return seccomp.syscalls?.some((rule) => rule.action === "SCMP_ACT_NOTIFY") ?? false;
}

function flagsOf(seccomp: Seccomp, listener: boolean): number {
  let flags = listener ? k.SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
  // As runc: who says nothing about flags gets no speculative-store mitigation forced on him.
  for (const flag of seccomp.flags ?? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]) {
    switch (flag) {
      case "SECCOMP_FILTER_FLAG_TSYNC":
        flags |= k.SECCOMP_FILTER_FLAG_TSYNC;
        // Without it the kernel could not say whether the result is a descriptor or a thread id: EINVAL.
        if (listener) flags |= k.SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        break;
      case "SECCOMP_FILTER_FLAG_LOG":
        flags |= k.SECCOMP_FILTER_FLAG_LOG;
        break;
      case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
        flags |= k.SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        break;
      case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
        // It says how a notification waits; without a listener the kernel refuses it.
        if (listener) flags |= k.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        break;
      default:
        throw invalid(`seccomp profile: unknown flag ${JSON.stringify(flag)}`);
    }
  }
  return flags;
}
