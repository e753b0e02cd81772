import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { NATIVE_ABI } from "../linux/call.ts";
import { Program } from "./ir.ts";
import { REPORT_FD, run, TRACE_FD } from "./testing.ts";
import { readTrace, traced } from "./trace.ts";

const native = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";

/** 0 clone3, 1 wait4, 2 branch over 3, 4 exit; child: 5 ppoll for `milliseconds`, 6 jump to 7, 7 exit or fail. */
function family(milliseconds: number, fails = false): Program {
  const p = new Program(REPORT_FD);
  const args = Buffer.alloc(88);
  args.writeBigUInt64LE(BigInt(constants.signals.SIGCHLD), 32);
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(BigInt(milliseconds * 1_000_000), 8);
  const [child, over, end] = [p.label("child"), p.label("over"), p.label("end")];
  const wstatus = p.room(4, "wait status");
  const pid = p.result("", "pid", "clone3", [p.bytes(args, "clone_args"), 88], { child });
  p.call("", "wait4", [pid, wstatus, 0, 0]);
  p.branch("", pid, "at most", pid, over);
  p.call("", "close", [-1]);
  p.place(over);
  p.exit("", wstatus);
  p.place(child);
  p.call("", "ppoll", [0, 0, p.bytes(timeout, "timeout"), 0, 8]);
  p.branch("", pid, "equal", 0, end);
  p.place(end);
  if (fails) p.fail("", "execve", "sh", "ENOENT");
  else p.exit("", p.bytes(Buffer.from([0, 33, 0, 0]), "33"));
  return p;
}

describe("a traced program", () => {
  test("does the same, and reports each row that goes on, by process", async () => {
    const program = family(20);
    expect(await run(program, native)).toMatchObject({ code: 33, failures: [] });
    const { code, failures, trace } = await run(traced(program, TRACE_FD), native);
    expect({ code, failures }).toEqual({ code: 33, failures: [] });
    const times = readTrace(trace);
    const of = (process: number) => times.filter((time) => time.process === process).map(({ row }) => row);
    expect(of(0)).toEqual([0, 1]);
    expect(of(1)).toEqual([5]);
    const slept = times.find(({ row }) => row === 5)!.microseconds;
    expect(slept).toBeGreaterThanOrEqual(20_000);
    expect(slept).toBeLessThan(5_000_000);
    expect(times.every(({ microseconds }) => microseconds >= 0)).toBe(true);
  });

  test("a child's rows are its own, also after a row of the parent that does not return", async () => {
    const p = new Program(REPORT_FD);
    const child = p.label("child");
    const args = Buffer.alloc(88);
    args.writeBigUInt64LE(BigInt(constants.signals.SIGCHLD), 32);
    const pid = p.result("", "pid", "clone3", [p.bytes(args, "clone_args"), 88], { child });
    p.call("", "wait4", [pid, 0, 0, 0]);
    p.call("", "exit_group", [5]);
    p.place(child);
    p.call("", "getpid", []);
    p.exit("", p.room(4, "0"));
    const { code, trace } = await run(traced(p, TRACE_FD), native);
    expect(code).toBe(5);
    const rows = readTrace(trace).map(({ row, process }) => `${process}: ${row}`);
    expect(rows.toSorted()).toEqual(["0: 0", "0: 1", "1: 3"]);
  });

  test("failures name its own rows; originOf those of the program", async () => {
    const program = traced(family(1, true), TRACE_FD);
    const { code, failures } = await run(program, native);
    expect(code).toBe(255);
    expect(failures.map(({ row, errno }) => [program.originOf(row), errno])).toEqual([[7, constants.errno.ENOENT]]);
    expect(program.rows[failures[0]!.row]).toMatchObject({ kind: "fail" });
    expect(program.origins.length).toBe(program.rows.length);
  });

  test("runs without its pipe", async () => {
    expect(await run(traced(family(1), 999), native)).toMatchObject({ code: 33, failures: [] });
  });

  test("leaves no record once its pipe is closed: the number may be another file's by then", async () => {
    for (const [call, args] of [
      ["close", [TRACE_FD]],
      ["close_range", [TRACE_FD, 0xffff_ffff, 0]],
      ["dup3", [1, TRACE_FD, 0]],
    ] as const) {
      const p = new Program(REPORT_FD);
      p.call("", "getpid", []);
      p.call("", call, args);
      p.call("", "dup3", [1, TRACE_FD, 0]);
      p.call("", "write", [TRACE_FD, p.text("mine"), 4], { expect: 4 });
      p.exit("", p.room(4, "0"));
      const { out, code, trace } = await run(traced(p, TRACE_FD), native);
      expect({ out, code }).toEqual({ out: "mine", code: 0 });
      expect(readTrace(trace).map(({ row }) => row)).toEqual([0]);
    }
    const p = new Program(REPORT_FD);
    p.call("", "close_range", [TRACE_FD, 0xffff_ffff, 4]);
    p.call("", "close_range", [TRACE_FD + 1, 0xffff_ffff, 0]);
    p.exit("", p.room(4, "0"));
    expect(readTrace((await run(traced(p, TRACE_FD), native)).trace).map(({ row }) => row)).toEqual([0, 1]);
  });

  test("a child keeps its pipe until execve", async () => {
    for (const [first, last] of [
      [TRACE_FD, 0xffff_ffff],
      [REPORT_FD + 1, TRACE_FD],
      [REPORT_FD, 0xffff_ffff],
      [TRACE_FD, TRACE_FD],
    ] as const) {
      const p = new Program(REPORT_FD);
      const child = p.label("child");
      p.call("", "close", [0], { child });
      p.exit("", p.room(4, "0"));
      p.place(child);
      p.call("", "dup3", [1, TRACE_FD + 1, 0]);
      p.call("", "close_range", [first, last, 0]);
      p.call("", "getpid", []);
      const script = `cd /proc/$$/fd; for fd in ${REPORT_FD} ${TRACE_FD} ${TRACE_FD + 1}; do test -e $fd && echo $fd; done`;
      p.call("", "execve", [p.text("/bin/sh"), p.strings(["sh", "-c", script], "arguments"), 0]);
      const { out, trace } = await run(traced(p, TRACE_FD), native);
      const open = [REPORT_FD, TRACE_FD + 1].filter((fd) => fd < first || fd > last);
      expect(out).toBe(open.map((fd) => `${fd}\n`).join(""));
      expect(readTrace(trace).map(({ row, process }) => [row, process])).toEqual([2, 3, 4].map((row) => [row, 1]));
    }
  });

  test("leaves the program as it was", () => {
    const program = family(1);
    const before = structuredClone(program.rows);
    const copy = traced(program, TRACE_FD);
    expect(structuredClone(program.rows)).toEqual(before);
    expect(copy.slots).toEqual(program.slots);
  });
});

describe("records", () => {
  const record = (row: number, process: number, seconds: bigint, nanoseconds: bigint) => {
    const bytes = Buffer.alloc(24);
    bytes.writeUInt32LE(row, 0);
    bytes.writeUInt32LE(process, 4);
    bytes.writeBigUInt64LE(seconds, 8);
    bytes.writeBigUInt64LE(nanoseconds, 16);
    return bytes;
  };
  const START = 0xffff_ffff;

  test("become durations since the one before, of the same process", () => {
    const bytes = Buffer.concat([
      record(START, 0, 100n, 999_999_000n),
      record(0, 0, 101n, 500n),
      record(START, 1, 101n, 1_000n),
      record(3, 0, 101n, 2_500n),
      record(5, 1, 101n, 4_000n),
    ]);
    const times = [
      { row: 0, process: 0, microseconds: 1.5 },
      { row: 3, process: 0, microseconds: 2 },
      { row: 5, process: 1, microseconds: 3 },
    ];
    expect(readTrace(bytes)).toEqual(times);
    // Cut off within the last record; at an odd address; without a start.
    expect(readTrace(bytes.subarray(0, -1))).toEqual(times.slice(0, 2));
    expect(readTrace(Buffer.concat([Buffer.alloc(1), bytes]).subarray(1))).toEqual(times);
    expect(readTrace(bytes.subarray(24))).toEqual([{ row: 3, process: 0, microseconds: 2 }, times[2]!]);
    expect(readTrace(new Uint8Array())).toEqual([]);
  });
});
