import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { NATIVE_ABI } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { syscallNumber } from "../linux/syscall-numbers.ts";
import { Data, type Operand, type Program } from "./ir.ts";
import { BAD_FD, program, run, say, sayBranch, status } from "./testing.ts";

const native = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";
const { EBADF } = constants.errno;

// qemu's user mode has neither clone3 nor seccomp.
describe(`processes, ${native}`, () => {
  const SIGCHLD = BigInt(constants.signals.SIGCHLD);

  /** A child that runs the rows of `child`; the program exits as that did. */
  function parentOf(child: (p: Program) => void): Program {
    const p = program();
    const args = Buffer.alloc(88);
    args.writeBigUInt64LE(SIGCHLD, 32);
    const inChild = p.label("child");
    const wstatus = p.room(4, "wait status");
    const pid = p.result("", "pid", "clone3", [p.bytes(args, "clone_args"), args.length], { child: inChild });
    p.call("", "wait4", [pid, wstatus, 0, 0]);
    say(p, "parent");
    p.exit("", wstatus);
    p.place(inChild);
    child(p);
    return p;
  }

  test("a child, its code", async () => {
    const p = parentOf((p) => {
      say(p, "child ");
      p.exit("", status(p, 0x2a00));
    });
    expect(await run(p, native)).toMatchObject({ code: 42, out: "child parent", failures: [] });
  });

  test("a child, its signal", async () => {
    const p = parentOf((p) => {
      const self = p.result("", "self", "getpid", []);
      p.call("", "kill", [self, constants.signals.SIGKILL]);
    });
    expect(await run(p, native)).toMatchObject({ code: 137, out: "parent", failures: [] });
  });

  test("a child, its failure", async () => {
    const p = parentOf((p) => p.call("", "close", [BAD_FD]));
    expect(await run(p, native)).toMatchObject({ code: 255, out: "parent", failures: [{ row: 4, errno: EBADF }] });
  });

  /**
   * Rows that make every later getpid fail with its argument number `index` as errno (seccomp(2), cBPF):
   * a way to see what the kernel is given.
   */
  function echoArgument(p: Program, index: number): void {
    const filter = Buffer.alloc(6 * 8);
    const code: [code: number, jt: number, jf: number, value: number][] = [
      [0x20, 0, 0, 0], // A = nr
      [0x15, 0, 3, syscallNumber(native, "getpid")!], // other calls: the last line
      [0x20, 0, 0, 16 + index * 8], // A = the argument's low half
      [0x44, 0, 0, 0x0005_0000], // A |= SECCOMP_RET_ERRNO
      [0x16, 0, 0, 0], // return A
      [0x06, 0, 0, 0x7fff_0000], // return SECCOMP_RET_ALLOW
    ];
    for (const [i, [op, jt, jf, value]] of code.entries()) {
      filter.writeUInt16LE(op, i * 8);
      filter.set([jt, jf], i * 8 + 2);
      filter.writeUInt32LE(value, i * 8 + 4);
    }
    const fprog = Buffer.alloc(16);
    fprog.writeUInt16LE(code.length, 0);
    const data = new Data(fprog, "struct sock_fprog", [[8, p.bytes(filter, "filter")]]);
    p.call("", "prctl", [k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
    p.call("", "seccomp", [k.SECCOMP_SET_MODE_FILTER, 0, data]);
  }

  test("all six arguments, immediate and from slots", async () => {
    for (let index = 0; index < 6; index++) {
      const p = program();
      const args: Operand[] = [11, 22, 33, 44, 55, 66];
      const slots = args.map((n) => p.result("", `slot ${n}`, "write", [1, p.text(".".repeat(Number(n))), n]));
      echoArgument(p, index);
      sayBranch(p, p.result("", "immediate", "getpid", args, { ignore: "all" }), "equal", -Number(args[index]));
      const swapped = slots.toReversed();
      sayBranch(p, p.result("", "slot", "getpid", swapped, { ignore: "all" }), "equal", -Number(args[5 - index]));
      const mixed = args.map((n, i) => (i === index ? slots[i]! : n));
      sayBranch(p, p.result("", "mixed", "getpid", mixed, { ignore: "all" }), "equal", -Number(args[index]));
      p.exit("", status(p, 0));
      expect((await run(p, native)).out.replaceAll(".", "")).toBe("yes yes yes ");
    }
  });

  test("an errno over 255 is not mistaken for an ignored one", async () => {
    for (const errno of [256, 256 + EBADF]) {
      const p = program();
      echoArgument(p, 0);
      p.call("", "getpid", [errno], { ignore: ["EBADF"] });
      p.exit("", status(p, 0));
      expect(await run(p, native)).toMatchObject({ code: 255, failures: [{ row: 2, errno }] });
    }
  });
});
