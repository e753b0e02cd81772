import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "./elf.ts";
import { type Data, type Operand, Program, type Slot } from "./ir.ts";
import type { Machine } from "./layout.ts";

/** Runs encoded programs in tests. */

/** Where programs of these tests report failures, and where a second pipe is. */
export const REPORT_FD = 3;
export const TRACE_FD = 4;
/** Never open. */
export const BAD_FD = 1_000_000;

export interface Ran {
  /** Exit code, or null for a signal. */
  code: number | null;
  out: string;
  /** What came out of REPORT_FD, as records. */
  failures: { row: number; errno: number }[];
  trace: Uint8Array;
}

/** Runs `program` in a process of its own to its end, under `emulator` if the machine needs one. */
export async function run(program: Program, machine: Machine, emulator: readonly string[] = []): Promise<Ran> {
  const dir = mkdtempSync(join(tmpdir(), "inro-program-"));
  try {
    const file = join(dir, "program");
    writeFileSync(file, encode(program, machine), { mode: 0o755 });
    const child = Bun.spawn([...emulator, file], { stdio: ["ignore", "pipe", "inherit", "pipe", "pipe"] });
    const [out, report, trace, code] = await Promise.all([
      child.stdout.text(),
      all(child.stdio[REPORT_FD]),
      all(child.stdio[TRACE_FD]),
      child.exited,
    ]);
    const failures: Ran["failures"] = [];
    for (let at = 0; at < report.length; at += 8) {
      failures.push({ row: report.readUInt32LE(at), errno: report.readUInt32LE(at + 4) });
    }
    return { code: child.signalCode ? null : code, out, failures, trace };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function all(fd: unknown): Promise<Buffer> {
  if (typeof fd !== "number") throw new TypeError("no descriptor of the child's pipe");
  return Buffer.from(await Bun.file(fd).arrayBuffer());
}

export function program(): Program {
  return new Program(REPORT_FD);
}

/** A wait status. */
export function status(p: Program, value: number): Data {
  return p.bytes(Buffer.from(Uint32Array.of(value).buffer), `status ${value}`);
}

/** Writes to stdout. */
export function say(p: Program, text: string): void {
  p.call("say", "write", [1, p.text(text), text.length], { expect: text.length });
}

/** Says `yes` if the branch is taken, or `no`. */
export function sayBranch(p: Program, slot: Slot, test: "equal" | "at most", than: Operand): void {
  const yes = p.label("yes");
  const end = p.label("end");
  p.branch("", slot, test, than, yes);
  say(p, "no ");
  p.branch("", slot, "equal", slot, end);
  p.place(yes);
  say(p, "yes ");
  p.place(end);
}
