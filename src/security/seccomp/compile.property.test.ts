import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Abi, syscallNumber, X32_BIT } from "../../linux/syscall-numbers.ts";
import type { Seccomp, SeccompAction, SeccompArg, SeccompOperator } from "../../spec/oci-runtime.ts";
import { checkFilter, runFilter } from "./bpf-interpreter.ts";
import { compileUncached } from "./compile.ts";

const X86_64 = 0xc000_003e;
const I386 = 0x4000_0003;
const ENOSYS = 0x5_0026;

type Rule = NonNullable<Seccomp["syscalls"]>[number];

// A second reading of the rules, call by call, against which random profiles are compared.
const STRICT: SeccompAction[] = [
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_LOG",
  "SCMP_ACT_ALLOW",
];
const VALUES = [0x8000_0000, 0, 0x3_0000, 0x5_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000];
const valueFor = (action: SeccompAction, e?: number) => {
  const value = VALUES[STRICT.indexOf(action)]!;
  return action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE" ? value + (e ?? 1) : value;
};
function holds(a: SeccompArg, args: bigint[], wide: boolean): boolean {
  const cut = (v: bigint) => BigInt.asUintN(wide ? 64 : 32, v);
  const x = cut(args[a.index]!);
  const v = cut(BigInt(a.value));
  switch (a.op) {
    case "SCMP_CMP_EQ":
      return x === v;
    case "SCMP_CMP_NE":
      return x !== v;
    case "SCMP_CMP_LT":
      return x < v;
    case "SCMP_CMP_LE":
      return x <= v;
    case "SCMP_CMP_GT":
      return x > v;
    case "SCMP_CMP_GE":
      return x >= v;
    case "SCMP_CMP_MASKED_EQ":
      return (x & v) === (cut(BigInt(a.valueTwo ?? 0)) & v);
  }
}
function expected(seccomp: Seccomp, abi: Abi, number: number, args: bigint[]): number {
  const wide = abi === "x86_64";
  const fallback = valueFor(seccomp.defaultAction);
  const named = seccomp.syscalls!.flatMap((r) =>
    r.names.map((n) => syscallNumber(abi, n)).filter((n) => n !== undefined),
  );
  const ordinary = named.filter((n) => abi !== "x32" || n < X32_BIT + 512);
  if (!["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].includes(seccomp.defaultAction)) {
    if (ordinary.length > 0 && number > Math.max(...ordinary) && (abi !== "x32" || number < X32_BIT + 512))
      return ENOSYS;
    if (named.length > 0 && number > Math.max(...named)) return ENOSYS;
  }
  const mine = seccomp.syscalls!.filter((r) => r.names.some((n) => syscallNumber(abi, n) === number));
  const always = mine.find((r) => !r.args?.length && valueFor(r.action, r.errnoRet) !== fallback);
  if (always) return valueFor(always.action, always.errnoRet);
  const matching = mine.filter((r) => {
    if (!r.args?.length) return false;
    const twice = new Set(r.args.map((a) => a.index)).size < r.args.length;
    return twice ? r.args.some((a) => holds(a, args, wide)) : r.args.every((a) => holds(a, args, wide));
  });
  for (const action of STRICT) {
    const hit = matching.find((r) => r.action === action);
    if (hit) return valueFor(hit.action, hit.errnoRet);
  }
  return fallback;
}

test("random profiles decide random calls as their rules say", () => {
  const names = [
    "read",
    "lseek",
    "mmap",
    "clone",
    "fcntl",
    "ptrace",
    "mseal",
    "execve",
    "no_such_call",
    "prctl",
    "futex",
  ];
  const interesting = [0n, 1n, 2n, 7n, 0xffff_ffffn, 1n << 32n, (1n << 32n) + 1n, 1n << 63n, (1n << 64n) - 1n];
  const u64 = fc.oneof(fc.constantFrom(...interesting), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
  const action = fc.constantFrom(...STRICT);
  const anArg = fc.record({
    index: fc.integer({ min: 0, max: 2 }),
    // A mask of 0 makes a rule without arguments, which the plain reading above does not know.
    value: u64.map((v) => ((v & 0xffff_ffffn) === 0n ? v + 1n : v)),
    valueTwo: u64,
    op: fc.constantFrom("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ").map((o) => `SCMP_CMP_${o}` as SeccompOperator),
  });
  const aRule = fc
    .record({
      names: fc.subarray(names, { minLength: 1 }),
      action,
      e: fc.integer({ min: 0, max: 4095 }),
      args: fc.array(anArg, { maxLength: 3 }),
    })
    .map(
      ({ names, action, e, args }): Rule => ({
        names,
        action,
        args,
        ...((action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE") && { errnoRet: e }),
      }),
    );
  const profile = fc.record({ defaultAction: action, syscalls: fc.array(aRule, { maxLength: 12 }) });
  const call = fc.record({
    abi: fc.constantFrom<Abi>("x86_64", "i386", "x32"),
    name: fc.constantFrom(...names, "mount"),
    off: fc.constantFrom(0, 0, 0, 1, -1, 100),
    args: fc.array(u64, { minLength: 6, maxLength: 6 }),
  });
  fc.assert(
    fc.property(profile, fc.array(call, { minLength: 20, maxLength: 20 }), (base, calls) => {
      const seccomp: Seccomp = { ...base, architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] };
      const { code } = compileUncached(seccomp, "x86_64");
      checkFilter(code);
      for (const { abi, name, off, args } of calls) {
        const number = Math.max(
          (syscallNumber(abi, name) ?? syscallNumber(abi, "read")!) + off,
          abi === "x32" ? X32_BIT : 0,
        );
        const got = runFilter(code, { arch: abi === "i386" ? I386 : X86_64, nr: number, args });
        expect([abi, number, args, got]).toEqual([abi, number, args, expected(seccomp, abi, number, args)]);
      }
    }),
    { numRuns: 200 },
  );
});
