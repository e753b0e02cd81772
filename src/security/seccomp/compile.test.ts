import { describe, expect, test } from "bun:test";
import { type Abi, syscallNumber, X32_BIT } from "../../linux/syscall-numbers.ts";
import type { Seccomp, SeccompAction, SeccompArg, SeccompOperator } from "../../spec/oci-runtime.ts";
import { checkFilter, runFilter } from "./bpf-interpreter.ts";
import { compileFilter, compileUncached } from "./compile.ts";

const X86_64 = 0xc000_003e;
const I386 = 0x4000_0003;
const AARCH64 = 0xc000_00b7;
const ARM = 0x4000_0028;

const ALLOW = 0x7fff_0000;
const LOG = 0x7ffc_0000;
const NOTIFY = 0x7fc0_0000;
const KILL_PROCESS = 0x8000_0000;
const errno = (n: number) => 0x5_0000 + n;
const ENOSYS = errno(38);

const nr = (name: string, abi: Abi = "x86_64") => syscallNumber(abi, name)!;

/** Runs one call against a profile compiled for x86-64. */
function verdict(seccomp: Seccomp, name: string | number, args: (number | bigint)[] = [], abi: Abi = "x86_64"): number {
  const machine: Abi = abi === "aarch64" || abi === "arm" ? "aarch64" : "x86_64";
  const arch = { x86_64: X86_64, x32: X86_64, i386: I386, aarch64: AARCH64, arm: ARM }[abi];
  const { code } = compileUncached(seccomp, machine);
  checkFilter(code);
  return runFilter(code, { arch, nr: typeof name === "string" ? nr(name, abi) : name, args: args.map(BigInt) });
}

type Rule = NonNullable<Seccomp["syscalls"]>[number];
const rule = (names: string, action: SeccompAction, args?: SeccompArg[], errnoRet?: number): Rule => ({
  names: names.split(" "),
  action,
  ...(args && { args }),
  ...(errnoRet !== undefined && { errnoRet }),
});
const arg = (op: string, value: number | bigint, valueTwo?: number | bigint, index = 0): SeccompArg => ({
  index,
  op: `SCMP_CMP_${op}` as SeccompOperator,
  value,
  ...(valueTwo !== undefined && { valueTwo }),
});
const deny = (...syscalls: Rule[]): Seccomp => ({ defaultAction: "SCMP_ACT_ERRNO", syscalls });
const permit = (...syscalls: Rule[]): Seccomp => ({ defaultAction: "SCMP_ACT_ALLOW", syscalls });

describe("calls without argument rules", () => {
  test("named calls get their action, others the default with its errno", () => {
    const seccomp = deny(rule("read mseal", "SCMP_ACT_ALLOW"), rule("mount", "SCMP_ACT_ERRNO", undefined, 30));
    expect(verdict(seccomp, "read")).toBe(ALLOW);
    expect(verdict(seccomp, "mount")).toBe(errno(30));
    expect(verdict(seccomp, "ptrace")).toBe(errno(1));
    expect(verdict({ ...seccomp, defaultErrnoRet: 13 }, "ptrace")).toBe(errno(13));
  });

  test("every action has its return value", () => {
    const values: [SeccompAction, number][] = [
      ["SCMP_ACT_KILL", 0],
      ["SCMP_ACT_KILL_THREAD", 0],
      ["SCMP_ACT_KILL_PROCESS", KILL_PROCESS],
      ["SCMP_ACT_TRAP", 0x3_0000],
      ["SCMP_ACT_ERRNO", errno(1)],
      ["SCMP_ACT_NOTIFY", NOTIFY],
      ["SCMP_ACT_TRACE", 0x7ff0_0001],
      ["SCMP_ACT_LOG", LOG],
      ["SCMP_ACT_ALLOW", ALLOW],
    ];
    for (const [action, value] of values) {
      const seccomp: Seccomp = { defaultAction: "SCMP_ACT_TRAP", syscalls: [rule("getpid", action)] };
      expect(verdict(seccomp, "getpid")).toBe(value);
    }
  });

  test("unknown names are skipped", () => {
    expect(verdict(deny(rule("no_such_call read", "SCMP_ACT_ALLOW")), "read")).toBe(ALLOW);
  });

  test("calls newer than any named one get ENOSYS, also below a strict default, but not below a permissive one", () => {
    const rules = [rule("mseal read", "SCMP_ACT_ALLOW")];
    const newest = nr("mseal");
    expect(verdict(deny(...rules), newest - 1)).toBe(errno(1));
    expect(verdict(deny(...rules), newest + 1)).toBe(ENOSYS);
    expect(verdict(deny(...rules), 0x3fff_ffff)).toBe(ENOSYS);
    expect(verdict({ defaultAction: "SCMP_ACT_KILL", syscalls: rules }, newest + 1)).toBe(ENOSYS);
    expect(verdict({ defaultAction: "SCMP_ACT_LOG", syscalls: rules }, newest + 1)).toBe(LOG);
    expect(verdict({ defaultAction: "SCMP_ACT_TRACE", syscalls: rules }, newest + 1)).toBe(0x7ff0_0001);
    expect(verdict(deny(), 1000)).toBe(errno(1));
  });

  test("numbers that never grow do not hide what is newer: ARM's private calls, x32's own", () => {
    const seccomp = {
      ...deny(rule("mseal set_tls execve", "SCMP_ACT_ALLOW")),
      architectures: ["SCMP_ARCH_ARM", "SCMP_ARCH_X32"],
    };
    expect(verdict(seccomp, "set_tls", [], "arm")).toBe(ALLOW);
    expect(verdict(seccomp, nr("mseal", "arm") + 1, [], "arm")).toBe(ENOSYS);
    expect(verdict(seccomp, 0xf_0001, [], "arm")).toBe(errno(1));
    expect(verdict(seccomp, nr("set_tls", "arm") + 1, [], "arm")).toBe(ENOSYS);
    expect(verdict(seccomp, "execve", [], "x32")).toBe(ALLOW);
    expect(verdict(seccomp, nr("mseal", "x32") + 1, [], "x32")).toBe(ENOSYS);
    expect(verdict(seccomp, X32_BIT + 519, [], "x32")).toBe(errno(1));
  });
});

describe("architectures", () => {
  const rules = [rule("read", "SCMP_ACT_ALLOW")];

  test("the native one is always in, others only when named", () => {
    const native = { ...deny(...rules), architectures: ["SCMP_ARCH_MIPS"] };
    expect(verdict(native, "read")).toBe(ALLOW);
    expect(verdict(native, "read", [], "i386")).toBe(KILL_PROCESS);
    expect(verdict(native, "read", [], "x32")).toBe(KILL_PROCESS);
    expect(verdict(native, "read", [], "aarch64")).toBe(ALLOW);
    expect(verdict(native, "read", [], "arm")).toBe(KILL_PROCESS);

    const all = { ...deny(...rules), architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"] };
    expect(verdict(all, "read", [], "i386")).toBe(ALLOW);
    expect(verdict(all, nr("read"), [], "i386")).toBe(errno(1));
    expect(verdict(all, "read", [], "x32")).toBe(ALLOW);
    expect(verdict(all, "read", [], "arm")).toBe(ALLOW);
  });

  test("an architecture of another machine ends the process", () => {
    const { code } = compileUncached(permit(), "x86_64");
    expect(runFilter(code, { arch: AARCH64, nr: 0, args: [] })).toBe(KILL_PROCESS);
  });

  test("-1, a call that a tracer took back, is no x32 call", () => {
    expect(verdict(permit(), 0xffff_ffff)).toBe(ALLOW);
    expect(verdict(permit(), 0xffff_fffe)).toBe(KILL_PROCESS);
  });
});

describe("argument rules", () => {
  const HIGH = 1n << 32n;
  const cases: [string, bigint, bigint | undefined, bigint[], bigint[]][] = [
    ["EQ", 5n, undefined, [5n], [4n, 6n, HIGH + 5n]],
    ["EQ", HIGH + 5n, undefined, [HIGH + 5n], [5n, HIGH]],
    ["NE", 5n, undefined, [4n, HIGH + 5n], [5n]],
    ["LT", HIGH + 5n, undefined, [0n, 6n, HIGH + 4n], [HIGH + 5n, 2n * HIGH]],
    ["LE", HIGH + 5n, undefined, [6n, HIGH + 5n], [HIGH + 6n, 2n * HIGH]],
    ["GT", HIGH + 5n, undefined, [HIGH + 6n, 2n * HIGH], [HIGH + 5n, 6n]],
    ["GE", HIGH + 5n, undefined, [HIGH + 5n, 2n * HIGH], [HIGH + 4n, 6n]],
    ["GE", (1n << 63n) + 1n, undefined, [(1n << 64n) - 1n, (1n << 63n) + 1n], [1n << 63n, 1n]],
    ["MASKED_EQ", 0xf0n, 0x10n, [0x10n, 0x1fn, HIGH + 0x10n], [0x20n, 0n]],
    ["MASKED_EQ", HIGH * 3n + 1n, HIGH * 2n, [HIGH * 2n + 4n], [HIGH * 2n + 1n, HIGH]],
    ["MASKED_EQ", 1n, 3n, [1n, 3n], [0n, 2n]],
    ["MASKED_EQ", 0n, 7n, [0n, 7n], []],
  ];
  for (const [op, value, two, yes, no] of cases) {
    test(`${op} ${value}${two === undefined ? "" : ` ${two}`} compares all 64 bits`, () => {
      const seccomp = deny(rule("lseek", "SCMP_ACT_ALLOW", [arg(op, value, two, 3)]));
      for (const v of yes) expect(verdict(seccomp, "lseek", [0, 0, 0, v])).toBe(ALLOW);
      for (const v of no) expect(verdict(seccomp, "lseek", [0, 0, 0, v])).toBe(errno(1));
    });
  }

  test("32-bit ABIs compare the low half only, values cut alike", () => {
    const seccomp = {
      ...deny(rule("lseek", "SCMP_ACT_ALLOW", [arg("EQ", 0xffff_ffff_ffff_ffffn)])),
      architectures: ["SCMP_ARCH_X86"],
    };
    expect(verdict(seccomp, "lseek", [0xffff_ffff], "i386")).toBe(ALLOW);
    expect(verdict(seccomp, "lseek", [0xffff_ffff])).toBe(errno(1));
  });

  test("comparisons in one rule must all hold, rules are alternatives", () => {
    const seccomp = deny(
      rule("fcntl", "SCMP_ACT_ALLOW", [arg("EQ", 1), arg("EQ", 2, undefined, 1)]),
      rule("fcntl", "SCMP_ACT_ALLOW", [arg("EQ", 9)]),
    );
    expect(verdict(seccomp, "fcntl", [1, 2])).toBe(ALLOW);
    expect(verdict(seccomp, "fcntl", [1, 3])).toBe(errno(1));
    expect(verdict(seccomp, "fcntl", [9, 3])).toBe(ALLOW);
  });

  test("an argument named twice makes alternatives, as in runc", () => {
    const seccomp = deny(rule("fcntl", "SCMP_ACT_ALLOW", [arg("EQ", 1), arg("EQ", 2), arg("EQ", 7, undefined, 1)]));
    for (const args of [
      [1, 0],
      [2, 0],
      [0, 7],
    ])
      expect(verdict(seccomp, "fcntl", args)).toBe(ALLOW);
    expect(verdict(seccomp, "fcntl", [0, 0])).toBe(errno(1));
  });
});

describe("rules that disagree", () => {
  const narrow = rule("fcntl", "SCMP_ACT_ERRNO", [arg("EQ", 7)], 5);
  const broad = rule("fcntl", "SCMP_ACT_ALLOW");
  test("a rule without arguments beats those with, in either order", () => {
    expect(verdict(deny(narrow, broad), "fcntl", [7])).toBe(ALLOW);
    expect(verdict(deny(broad, narrow), "fcntl", [7])).toBe(ALLOW);
  });
  test("the first of several without arguments counts, but not one that repeats the default", () => {
    const trap = rule("fcntl", "SCMP_ACT_TRAP");
    expect(verdict(deny(broad, trap), "fcntl")).toBe(ALLOW);
    expect(verdict(deny(trap, broad), "fcntl")).toBe(0x3_0000);
    expect(verdict(deny(rule("fcntl", "SCMP_ACT_ERRNO"), broad), "fcntl")).toBe(ALLOW);
  });
  test("of overlapping argument rules the strictest wins, in either order", () => {
    const wide = rule("fcntl", "SCMP_ACT_ALLOW", [arg("GT", 3)]);
    for (const seccomp of [deny(wide, narrow), deny(narrow, wide)]) {
      expect(verdict(seccomp, "fcntl", [7])).toBe(errno(5));
      expect(verdict(seccomp, "fcntl", [8])).toBe(ALLOW);
    }
    const kill = rule("fcntl", "SCMP_ACT_KILL_PROCESS", [arg("GT", 3)]);
    expect(verdict(permit(narrow, kill), "fcntl", [7])).toBe(KILL_PROCESS);
  });
});

test("rules that only repeat the default cost no instructions", () => {
  const same = deny(rule("fcntl", "SCMP_ACT_ERRNO", [arg("EQ", 7)]));
  expect(compileUncached(same, "x86_64").count).toBe(
    compileUncached(deny(rule("fcntl", "SCMP_ACT_ERRNO")), "x86_64").count,
  );
});

describe("calls behind socketcall and ipc on i386", () => {
  const x86 = { architectures: ["SCMP_ARCH_X86"] };
  test("a rule without arguments covers both doors", () => {
    const blocked = { ...permit(rule("bind shmget", "SCMP_ACT_ERRNO")), ...x86 };
    expect(verdict(blocked, "socketcall", [2], "i386")).toBe(errno(1));
    expect(verdict(blocked, "socketcall", [1], "i386")).toBe(ALLOW);
    expect(verdict(blocked, "ipc", [0x1_0017], "i386")).toBe(errno(1));
    expect(verdict({ ...deny(rule("bind", "SCMP_ACT_ALLOW")), ...x86 }, "socketcall", [2], "i386")).toBe(ALLOW);
  });
  test("one with arguments, which a filter cannot see there, only forbids", () => {
    const blocked = { ...permit(rule("socket", "SCMP_ACT_ERRNO", [arg("EQ", 38)])), ...x86 };
    expect(verdict(blocked, "socketcall", [1], "i386")).toBe(errno(1));
    const opened = { ...deny(rule("socket", "SCMP_ACT_ALLOW", [arg("EQ", 1)])), ...x86 };
    expect(verdict(opened, "socketcall", [1], "i386")).toBe(errno(1));
  });
});

describe("size", () => {
  const many = (n: number, step: bigint) =>
    deny(...Array.from({ length: n }, (_, i) => rule("lseek read", "SCMP_ACT_ALLOW", [arg("EQ", BigInt(i) * step)])));
  test("programs longer than a conditional jump reaches are right", () => {
    const seccomp = many(300, (1n << 32n) + 1n);
    expect(compileUncached(seccomp, "x86_64").count).toBeGreaterThan(1000);
    for (const i of [0n, 1n, 150n, 299n]) expect(verdict(seccomp, "lseek", [i * ((1n << 32n) + 1n)])).toBe(ALLOW);
    expect(verdict(seccomp, "lseek", [300n * ((1n << 32n) + 1n)])).toBe(errno(1));
    expect(verdict(seccomp, "lseek", [1n])).toBe(errno(1));
    expect(verdict(seccomp, "write")).toBe(errno(1));
    expect(verdict(seccomp, "mount")).toBe(ENOSYS);
  });
  test("more than the kernel takes is an error", () => {
    expect(() => compileFilter(many(2000, 1n), "x86_64")).toThrow("more than 4096 instructions");
  });
});

describe("flags, listener, cache", () => {
  const flags = (seccomp: Seccomp) => compileFilter(seccomp, "x86_64").flags;
  const F = (name: string) => `SECCOMP_FILTER_FLAG_${name}`;
  test("flags", () => {
    expect(flags(permit())).toBe(4);
    expect(flags({ ...permit(), flags: [] })).toBe(0);
    expect(flags({ ...permit(), flags: [F("LOG"), F("TSYNC")] })).toBe(3);
    expect(flags({ ...permit(), flags: [F("WAIT_KILLABLE_RECV")] })).toBe(0);
    expect(() => flags({ ...permit(), flags: [F("NEW")] })).toThrow("unknown flag");
  });
  test("NOTIFY asks for a listener", () => {
    const seccomp = permit(rule("mount", "SCMP_ACT_NOTIFY"));
    expect(compileFilter(seccomp, "x86_64")).toMatchObject({ listener: true, flags: 8 | 4 });
    expect(flags({ ...seccomp, flags: [F("TSYNC"), F("WAIT_KILLABLE_RECV")] })).toBe(8 | 1 | 16 | 32);
    expect(compileFilter(permit(), "x86_64").listener).toBe(false);
  });
  test("NOTIFY cannot be where it would block its own hand-over", () => {
    expect(() => compileFilter({ defaultAction: "SCMP_ACT_NOTIFY" }, "x86_64")).toThrow("default action");
    expect(() => compileFilter(permit(rule("write", "SCMP_ACT_NOTIFY")), "x86_64")).toThrow("write");
  });
  test("equal profiles share a filter, different ones and ABIs do not", () => {
    const make = (v: bigint) => permit(rule("mount", "SCMP_ACT_TRAP", [arg("EQ", v)]));
    expect(compileFilter(make(7n), "x86_64")).toBe(compileFilter(make(7n), "x86_64"));
    expect(compileFilter(make(7n), "x86_64")).not.toBe(compileFilter(make(8n), "x86_64"));
    expect(compileFilter(make(7n), "x86_64")).not.toBe(compileFilter(make(7n), "aarch64"));
  });
});
