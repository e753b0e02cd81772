import { readFileSync } from "node:fs";
import { children, pss } from "../processes.ts";

export interface Cost {
  ms: number;
  /** Processor time in ms, of the command and of what works for it. */
  cpu: number;
  /** The most memory all of these had at once, bytes; what they share counted once, seen every 20 ms. */
  peak: number;
}

const TICK = 10;
const EVERY = 20;

/**
 * Runs a command to its end, and says what it cost: it, its children, and those of the resident processes `pids`. A
 * status other than 0 is an Error.
 */
export async function watched(
  argv: readonly string[],
  env: Record<string, string>,
  pids: () => readonly number[],
  input?: string,
): Promise<Cost> {
  const before = new Map(pids().map((pid) => [pid, ticks(pid)]));
  const start = performance.now();
  const child = Bun.spawn([...argv], { env, stdio: [input ? Bun.file(input) : "ignore", "ignore", "pipe"] });
  const errors = new Response(child.stderr).text();
  let peak = 0;
  const look = () => {
    const all = [child.pid, ...pids()].flatMap(tree);
    peak = Math.max(
      peak,
      all.reduce((sum, pid) => sum + sizeOf(pid), 0),
    );
  };
  const timer = setInterval(look, EVERY);
  const status = await child.exited;
  const ms = performance.now() - start;
  clearInterval(timer);
  if (status !== 0)
    throw new Error(`${argv.slice(0, 3).join(" ")}: status ${status}: ${(await errors).trim().slice(-300)}`);
  const own = child.resourceUsage()!.cpuTime.total;
  const others = pids().reduce((sum, pid) => sum + ticks(pid) - (before.get(pid) ?? 0), 0);
  return { ms, cpu: Number(own) / 1000 + others * TICK, peak };
}

const tree = (pid: number): number[] => [pid, ...children(pid).flatMap(tree)];

/** utime, stime, and those of children that were waited for (proc(5), stat). */
function ticks(pid: number): number {
  const fields = statOf(pid);
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i] ?? 0), 0);
}

function sizeOf(pid: number): number {
  try {
    return pss(pid) || 0;
  } catch {
    // Ended in between.
    return 0;
  }
}

/** From the third field on: the second, the name, may have spaces. */
function statOf(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}
