import { invalid } from "../../base/errors.ts";
import { type Abi, syscallNumber, X32_BIT } from "../../linux/syscall-numbers.ts";
import type { Seccomp, SeccompArg, SeccompOperator } from "../../spec/oci-runtime.ts";
import { ERRNO_ENOSYS, isPermissive, NOTIFY, returnValue, strictness } from "./actions.ts";
import { MULTIPLEXED } from "./multiplexed.ts";

/** A test of one argument; values are cut to the width that the ABI compares. */
export interface Comparison {
  index: number;
  op: SeccompOperator;
  value: bigint;
  /** MASKED_EQ: what `argument & value` must equal; bits outside the mask are gone. */
  valueTwo: bigint;
}

/** All comparisons hold → `action` (a filter's return value). Never empty. */
export interface Clause {
  when: readonly Comparison[];
  action: number;
}

/** What happens to a call: the first clause that holds, else `otherwise`. Equal decisions are the same object. */
export interface Decision {
  clauses: readonly Clause[];
  otherwise: number;
}

/** Calls from number `from` on, up to the next segment. */
export interface Segment {
  from: number;
  decision: Decision;
}

/** Whether an ABI's arguments are compared in full; the others by their low 32 bits, as libseccomp does (x32 too). */
export function isWide(abi: Abi): boolean {
  return abi === "x86_64" || abi === "aarch64";
}

// Where numbers start that were given once and never grow: 32-bit ARM's private calls (__ARM_NR_BASE), x32's own.
const FIXED_FROM: Partial<Record<Abi, number>> = { arm: 0x0f_0000, x32: X32_BIT + 512 };

/**
 * What `seccomp` decides for every number of an ABI from `first` up, ascending, neighbours different.
 *
 * - Comparisons within a rule are ANDed, rules on one call ORed. A rule that names one argument twice counts as one
 *   rule per comparison: libseccomp cannot express it, and this is how runc has always read such profiles.
 * - A rule without arguments beats every rule with arguments; of several, the first counts (libseccomp). One with the
 *   default action adds nothing.
 * - Where rules with arguments overlap, the strictest action wins, as between two filters in the kernel (seccomp(2));
 *   among equals the first.
 * - Calls newer than any the profile names get ENOSYS, unless the default lets calls pass: glibc tries new calls and
 *   falls back on ENOSYS but not on EPERM. As in runc, "newer" is a number above the highest named one.
 */
export function segments(seccomp: Seccomp, abi: Abi, first: number): Segment[] {
  const fallback = returnValue(seccomp.defaultAction, seccomp.defaultErrnoRet, "defaultErrnoRet");
  const rules = collect(seccomp, abi, fallback);

  const interned = new Map<string, Decision>();
  const ids = new Map<Clause, number>();
  const always = (otherwise: number) => memo(interned, `${otherwise}`, () => ({ clauses: [], otherwise }));
  const decide = (rule: CallRules): Decision => {
    if (rule.always !== undefined) return always(rule.always);
    const clauses = rule.clauses.toSorted((a, b) => strictness(a.action) - strictness(b.action));
    while (clauses.at(-1)?.action === fallback) clauses.pop();
    if (clauses.length === 0) return always(fallback);
    const key = `clauses ${clauses.map((clause) => memo(ids, clause, () => ids.size)).join()}`;
    return memo(interned, key, () => ({ clauses, otherwise: fallback }));
  };

  const result: Segment[] = [];
  const add = (from: number, decision: Decision) => {
    const last = result.at(-1);
    if (last?.from === from) result.pop();
    if (result.at(-1)?.decision !== decision) result.push({ from, decision });
  };
  const numbers = [...rules.keys()].sort((a, b) => a - b);
  const gap = isPermissive(fallback) || numbers.length === 0 ? always(fallback) : always(ERRNO_ENOSYS);
  const fixed = FIXED_FROM[abi] ?? Number.POSITIVE_INFINITY;
  add(first, always(fallback));
  for (const [i, nr] of numbers.entries()) {
    add(nr, decide(rules.get(nr)!));
    const next = numbers[i + 1];
    // Ordinary numbers grow below the fixed ones: without this split, few would ever be newer than the highest named.
    const newest = next === undefined || (nr < fixed && next >= fixed);
    add(nr + 1, newest ? gap : always(fallback));
    if (newest && next !== undefined) add(fixed, always(fallback));
  }
  return result;
}

interface CallRules {
  always?: number;
  clauses: Clause[];
}

function collect(seccomp: Seccomp, abi: Abi, fallback: number): Map<number, CallRules> {
  const calls = new Map<number, CallRules>();
  const of = (nr: number): CallRules => memo(calls, nr, () => ({ clauses: [] }));
  for (const [i, rule] of (seccomp.syscalls ?? []).entries()) {
    const action = returnValue(rule.action, rule.errnoRet, `syscalls[${i}].errnoRet`);
    const alternatives = clausesOf(rule.args ?? [], action, isWide(abi));
    const unconditional = alternatives.some((c) => c.when.length === 0);
    for (const name of rule.names) {
      // Whoever installs the filter must still be able to report it (config-linux.md, "listenerPath").
      if (action === NOTIFY && name === "write") throw invalid("seccomp profile: SCMP_ACT_NOTIFY cannot handle write");
      const nr = syscallNumber(abi, name);
      if (nr === undefined) continue;
      const rules = of(nr);
      if (!unconditional) for (const clause of alternatives) addClause(rules, clause);
      else if (action !== fallback) rules.always ??= action;

      if (abi !== "i386") continue;
      const multiplexed = MULTIPLEXED.get(name);
      if (!multiplexed) continue;
      // A filter cannot see the arguments behind the multiplexer's pointer. So only a rule without arguments carries
      // over as it is; one with arguments does so without them if it forbids, and not at all if it permits.
      if (unconditional || strictness(action) < strictness(fallback)) {
        addClause(of(syscallNumber(abi, multiplexed.by)!), { when: multiplexed.when, action });
      }
    }
  }
  if (fallback === NOTIFY) throw invalid("seccomp profile: SCMP_ACT_NOTIFY cannot be the default action");
  return calls;
}

/** The value of `key`, made when first asked for. */
export function memo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function addClause(rules: CallRules, clause: Clause): void {
  if (rules.clauses.at(-1) !== clause) rules.clauses.push(clause);
}

function clausesOf(args: readonly SeccompArg[], action: number, wide: boolean): Clause[] {
  const comparisons = args.map((arg) => comparison(arg, wide));
  const indexes = new Set(args.map((arg) => arg.index));
  const groups = indexes.size < args.length ? comparisons.map((c) => [c]) : [comparisons];
  return groups.map((group) => ({ when: group.filter((c) => !holdsAlways(c)), action }));
}

function comparison(arg: SeccompArg, wide: boolean): Comparison {
  const bits = wide ? 64 : 32;
  const value = BigInt.asUintN(bits, BigInt(arg.value));
  const valueTwo = BigInt.asUintN(bits, BigInt(arg.valueTwo ?? 0)) & value;
  return { index: arg.index, op: arg.op, value, valueTwo };
}

function holdsAlways(c: Comparison): boolean {
  return c.op === "SCMP_CMP_MASKED_EQ" && c.value === 0n;
}
