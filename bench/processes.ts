import { readdirSync, readFileSync } from "node:fs";

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
