import { invalid } from "../../base/errors.ts";

/** More CPUs or nodes than any kernel is built for (CONFIG_NR_CPUS is at most 8192). */
const MAX_INDEX = 8191;

/** Numbers of a kernel list such as `0-2,7` (cpuset(7), "List format"), or undefined if it is none. */
export function parseCpuList(text: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of text.trim().split(",")) {
    const [, first, last = first] = /^\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*$/.exec(part) ?? [];
    if (first === undefined) return undefined;
    if (Number(last) > MAX_INDEX || Number(first) > Number(last)) return undefined;
    for (let n = Number(first); n <= Number(last); n++) numbers.add(n);
  }
  return numbers;
}

/** CpusetCpus or CpusetMems against what is online; throws invalid. */
export function checkCpuset(value: string, what: "cpus" | "mems", available: string): void {
  if (value === "") return;
  const wanted = parseCpuList(value);
  if (wanted === undefined) throw invalid(`invalid value ${value.slice(0, 128)} for cpuset ${what}`);
  const there = parseCpuList(available) ?? new Set([0]);
  if ([...wanted].every((n) => there.has(n))) return;
  const objects = what === "cpus" ? "CPUs" : "memory nodes";
  throw invalid(`requested ${objects} are not available - requested ${value}, available: ${available}`);
}
