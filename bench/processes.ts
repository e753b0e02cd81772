import { readdirSync, readFileSync } from "node:fs";
import { sys } from "../src/linux/call.ts";
import { room, scratch } from "../src/linux/ffi.ts";

/** Pids of a process's children, of all its threads. */
export function children(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** Pids of the processes of this name (the kernel keeps 15 characters) with `argument` somewhere in their arguments. */
export function named(comm: string, argument: string): number[] {
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== comm.slice(0, 15)) return [];
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(argument) ? [pid] : [];
    } catch {
      // Ended in between.
      return [];
    }
  });
}

/** Proportional set size in bytes: its own pages, and its share of those it shares (proc(5), smaps_rollup). */
export function pss(pid: number): number {
  const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
}

/** Milliseconds of processor time of a process, to the nanosecond, with those of threads that have ended (clock_getcpuclockid(3)). */
export function processorTime(pid: number): number {
  return scratch(() => {
    const time = room(16);
    sys("clock_gettime", `process ${pid}`, (~pid << 3) | CPUCLOCK_SCHED, time.address);
    return Number(time.view.readBigInt64LE(0)) * 1e3 + Number(time.view.readBigInt64LE(8)) / 1e6;
  });
}

const CPUCLOCK_SCHED = 2;
