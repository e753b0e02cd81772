import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { NATIVE_ABI } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { interpreterOf } from "./elf.ts";
import { type Errno, Offset, type Operand, type Program } from "./ir.ts";
import type { Machine } from "./layout.ts";
import { BAD_FD, program, run, say, sayBranch, status } from "./testing.ts";

const native: Machine = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";
const qemu = native === "aarch64" ? null : Bun.which("qemu-aarch64-static");

const { EBADF, EIO, EINVAL, ENOENT } = constants.errno;
const AT_FDCWD = k.AT_FDCWD;

/** What every interpreter must do, whether on this machine or under an emulator. */
function rules(machine: Machine, emulator: readonly string[]): void {
  const go = (p: Program) => run(p, machine, emulator);

  test("writes, then exits with the code of a status", async () => {
    for (const [value, code] of [
      [0, 0],
      [0x0700, 7],
      [0xff00, 255],
    ] as const) {
      const p = program();
      say(p, "hello");
      p.exit("", status(p, value));
      expect(await go(p)).toMatchObject({ code, out: "hello", failures: [] });
    }
  });

  test("exits with 128 + signal, whether a core was dumped or not", async () => {
    for (const [value, code] of [
      [9, 137],
      [0x80 | 11, 139],
      [0xff00 | 15, 143],
    ] as const) {
      const p = program();
      p.exit("", status(p, value));
      expect(await go(p)).toMatchObject({ code, failures: [] });
    }
  });

  test("a failed call ends the program and leaves its row and errno", async () => {
    const p = program();
    say(p, "before");
    p.call("", "openat", [AT_FDCWD, p.text("/nowhere/at/all"), 0]);
    say(p, "after");
    expect(await go(p)).toMatchObject({ code: 255, out: "before", failures: [{ row: 1, errno: ENOENT }] });
  });

  test("row numbers over 255", async () => {
    const p = program();
    for (let i = 0; i < 700; i++) p.call("", "getpid", []);
    p.call("", "close", [BAD_FD]);
    expect((await go(p)).failures).toEqual([{ row: 700, errno: EBADF }]);
  });

  test("an unexpected result is EIO, even where errors are ignored", async () => {
    const p = program();
    p.call("", "close", [0], { expect: 0 });
    p.call("", "write", [1, p.text("abc"), 3], { expect: 4, ignore: "all" });
    say(p, "after");
    expect(await go(p)).toMatchObject({ code: 255, out: "abc", failures: [{ row: 1, errno: EIO }] });
  });

  test("ignored errors: a list, all, and no others", async () => {
    const cases: ["all" | readonly Errno[], number][] = [
      [["EBADF"], 0],
      [["ENOENT", "EBADF"], 0],
      [["ENOENT", "EIO", "EBADF"], 0],
      ["all", 0],
      [["ENOENT"], 255],
      [[], 255],
    ];
    for (const [ignore, code] of cases) {
      const p = program();
      p.call("", "close", [BAD_FD], { ignore });
      p.exit("", status(p, 0));
      const failures = code === 0 ? [] : [{ row: 0, errno: EBADF }];
      expect(await go(p)).toMatchObject({ code, failures });
    }
  });

  test("a fail row", async () => {
    const p = program();
    say(p, "x");
    p.fail("", "execve", "sh", "ENOENT");
    expect(await go(p)).toMatchObject({ code: 255, out: "x", failures: [{ row: 1, errno: ENOENT }] });
  });

  test("results are arguments of later rows, in each place", async () => {
    const p = program();
    const five = p.result("", "five", "write", [1, p.text("12345"), 5]);
    p.call("", "write", [1, p.text("abcdefgh"), five], { expect: 5 });
    // prctl(2): what PR_SET_NO_NEW_PRIVS does not use must be 0.
    const zero = p.result("", "zero", "close", [0]);
    for (let at = 2; at < 5; at++) {
      const args: Operand[] = [k.PR_SET_NO_NEW_PRIVS, 1, zero, zero, zero];
      p.call("", "prctl", args, { expect: 0 });
      const result = p.result("", "result", "prctl", args.with(at, five), { ignore: ["EINVAL"] });
      sayBranch(p, result, "equal", -EINVAL);
    }
    p.exit("", status(p, 0));
    expect(await go(p)).toMatchObject({ code: 0, out: "12345abcdeyes yes yes ", failures: [] });
  });

  test("stores results, errors as -errno, 8 bytes each", async () => {
    const p = program();
    const room = p.bytes(new Uint8Array(24).fill(0xee), "room");
    const three = p.result("", "three", "write", [1, p.text("abc"), 3]);
    const bad = p.result("", "bad", "close", [BAD_FD], { ignore: "all" });
    p.store("", three, room);
    p.store("", bad, new Offset(room, 12));
    p.call("", "write", [1, room, 24], { expect: 24 });
    p.exit("", status(p, 0));
    const wanted = Buffer.alloc(24, 0xee);
    wanted.writeBigInt64LE(3n, 0);
    wanted.writeBigInt64LE(BigInt(-EBADF), 12);
    // As text, bytes over 127 are lost: compare what is left of both.
    expect(await go(p)).toMatchObject({ code: 0, out: `abc${wanted.toString()}`, failures: [] });
  });

  test("branches compare 64 bits, signed", async () => {
    const cases: [slot: "three" | "bad", "equal" | "at most", than: Operand | "three" | "bad", taken: boolean][] = [
      ["three", "equal", 3, true],
      ["three", "equal", 4, false],
      ["three", "equal", 0x1_0000_0003, false],
      ["three", "at most", 4, true],
      ["three", "at most", 3, true],
      ["three", "at most", 2, false],
      ["three", "at most", -1, false],
      ["three", "at most", 2n ** 40n, true],
      ["bad", "equal", -EBADF, true],
      ["bad", "at most", -1, true],
      ["bad", "at most", -EBADF - 1, false],
      ["three", "equal", "three", true],
      ["three", "equal", "bad", false],
      ["three", "at most", "bad", false],
      ["bad", "at most", "three", true],
    ];
    const p = program();
    const slots = {
      three: p.result("", "three", "write", [1, p.text("..."), 3]),
      bad: p.result("", "bad", "close", [BAD_FD], { ignore: "all" }),
    };
    for (const [slot, test, than] of cases) {
      sayBranch(p, slots[slot], test, typeof than === "string" ? slots[than] : than);
    }
    p.exit("", status(p, 0));
    const out = cases.map(([, , , taken]) => (taken ? "yes " : "no ")).join("");
    expect(await go(p)).toMatchObject({ code: 0, out: `...${out}`, failures: [] });
  });

  test("jumps backward", async () => {
    const p = program();
    const [first, second] = [p.label("first"), p.label("second")];
    p.branch("", p.report, "equal", p.report, second);
    p.place(first);
    say(p, "first");
    p.exit("", status(p, 0));
    p.place(second);
    say(p, "second ");
    p.branch("", p.report, "equal", p.report, first);
    expect(await go(p)).toMatchObject({ code: 0, out: "second first" });
  });

  test("a row with a child goes there for the result 0 only", async () => {
    const p = program();
    const [never, child] = [p.label("never"), p.label("child")];
    p.call("", "getpid", [], { child: never });
    p.call("", "close", [BAD_FD], { child: never, ignore: "all" });
    say(p, "parent ");
    p.call("", "close", [0], { child });
    p.place(never);
    say(p, "wrong");
    p.place(child);
    say(p, "child");
    p.exit("", status(p, 0));
    expect(await go(p)).toMatchObject({ code: 0, out: "parent child", failures: [] });
  });

  test("executes a file, with arrays of addresses", async () => {
    const p = program();
    const argv = p.strings(["sh", "-c", 'echo "$1 $VALUE"', "sh", "an argument"], "arguments");
    p.call("", "execve", [p.text("/nowhere/sh"), argv, 0], { ignore: ["ENOENT", "ENOTDIR"] });
    p.call("", "execve", [p.text("/bin/sh"), argv, p.strings(["VALUE=a value"], "environment")]);
    p.fail("", "execve", "sh", "ENOENT");
    expect(await go(p)).toMatchObject({ code: 0, out: "an argument a value\n" });
  });
}

describe(`interpreter, ${native}`, () => rules(native, []));

describe.skipIf(!qemu)("interpreter, aarch64 under qemu-aarch64-static (skipped where that is missing)", () =>
  rules("aarch64", [String(qemu)]),
);

test.skipIf(!qemu)("aarch64 under qemu-aarch64-static: all six arguments (skipped where that is missing)", async () => {
  const p = program();
  const args: Operand[] = [11, 22, 33, 44, 55, 66];
  const slots = args.map((n) => p.result("", `slot ${n}`, "write", [1, p.text(".".repeat(Number(n))), n]));
  p.call("", "keyctl", args, { ignore: "all" });
  p.call("", "keyctl", slots.toReversed(), { ignore: "all" });
  p.exit("", status(p, 0));
  const { out } = await run(p, "aarch64", ["sh", "-c", `exec ${qemu} -strace "$0" 2>&1`]);
  expect(out.match(/keyctl\(.*?\)/g)).toEqual(["keyctl(11,22,33,44,55,66)", "keyctl(66,55,44,33,22,11)"]);
});

// The bytes, so that no change is by accident: check a new value with a disassembler.
describe("machine code", () => {
  const lines = (code: Uint8Array) => Buffer.from(code).toString("hex").replace(/.{64}/g, "$&\n").trim().split("\n");
  test("x86_64", () => {
    expect(lines(interpreterOf("x86_64").code)).toMatchInlineSnapshot(`
      [
        "bb0004400041bc000060000fb64b0283f9020f843801000083f9030f84430100",
        "0083f9040f847101000083f9050f848c0100000fb66b04488b7b100fbae50073",
        "04498b3cfc488b73180fbae5017304498b34f4488b53200fbae5027304498b14",
        "d44c8b53280fbae50373044f8b14d44c8b43300fbae50473044f8b04c44c8b4b",
        "380fbae50573044f8b0ccc0fb7030f054883f8fc0f8499ffffff0fb64b054989",
        "04cc483d01f0ffff0f83380000008b4b0883f9ff0f840800000039c10f855600",
        "0000807b02010f85110000004885c00f85080000008b5b0ce92effffff4883c3",
        "40e925ffffff807b03010f84edfffffff7d80fb64b0639c10f84dfffffff0fb6",
        "4b0739c10f84d3ffffff3b430c0f84caffffffe905000000b805000000498db4",
        "240002000089460489d82d00044000c1e8068906498b3c24ba08000000b80100",
        "00000f05bfff000000b8e70000000f05488b4310498b04c4488b7b18488907e9",
        "79ffffff488b4310498b04c4488b7318f64304027404498b34f44839f00f8452",
        "ffffff807b03010f8550ffffff4839f00f8e3fffffffe942ffffff488b73108b",
        "0689c783e77f0f840b00000081c780000000e992ffffff0fb6fce98affffff8b",
        "4310e956ffffff",
      ]
    `);
  });
  test("aarch64", () => {
    expect(lines(interpreterOf("aarch64").code)).toMatchInlineSnapshot(`
      [
        "138080d21308a0f2140080d2140ca0f2690a40393f090071800900543f0d0071",
        "e00900543f110071600b00543f150071200c00546a124039600a40f94a000036",
        "807a60f8610e40f94a000836817a61f8621240f94a001036827a62f8631640f9",
        "4a001836837a63f8641a40f94a002036847a64f8651e40f94a002836857a65f8",
        "68024079010000d41f1000b140fdff5469164039807a29f81ffc3fb1c2010054",
        "690a40b93f050031600000543f01006be1020054690a40393f05007181000054",
        "600000b5730e40b9d2ffff1773020191d0ffff17690e40393f05007180ffff54",
        "e003004b691a40393f01006b00ffff54691e40393f01006ba0feff54690e40b9",
        "3f01006b40feff5402000014a00080d281020891200400b9098080d20908a0f2",
        "6902094b297d0653290000b9800240f9020180d2080880d2010000d4e01f80d2",
        "c80b80d2010000d4690a40f9897a69f86a0e40f9490100f9ddffff17690a40f9",
        "897a69f86a0e40f96b1240394b0008368a7a6af83f010aeb60faff546b0e4039",
        "7f05007141faff543f010aebcdf9ff54cfffff17690a40f9290140b920190072",
        "6000005400000291e6ffff17203d0853e4ffff17601240b9d6ffff17",
      ]
    `);
  });
});
