import { readFileSync } from "node:fs";

let last: number | undefined;

/** Number of the highest capability that the running kernel knows (capabilities(7)). */
export function lastCapability(): number {
  last ??= Number(readFileSync("/proc/sys/kernel/cap_last_cap", "latin1"));
  return last;
}
