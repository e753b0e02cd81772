import { readFile } from "node:fs/promises";
import { trySys } from "./call.ts";
import * as k from "./constants.ts";

/**
 * Takes the pages of this process's program and libraries out of its page tables: those that are used again come back out
 * of the page cache, sixteen at a time, those that only the start needed do not, and are the kernel's to reuse. Only
 * mappings of files that nobody can write to and of which no page is the process's own copy: their contents are the
 * file's. Resolves to the bytes taken.
 */
export async function leavePages(): Promise<number> {
  let bytes = 0;
  for (const { from, to } of untouched(await readFile("/proc/self/smaps", "latin1"))) {
    if (trySys("madvise", from, to - from, k.MADV_DONTNEED) === 0) bytes += to - from;
  }
  return bytes;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r-[-x]p [0-9a-f]+ [0-9a-f:]+ [1-9]/;

/** The mappings of proc(5)'s smaps that are as their files are. */
function* untouched(smaps: string): Generator<{ from: number; to: number }> {
  let mapping: { from: number; to: number } | undefined;
  for (const line of smaps.split("\n")) {
    if (/^[0-9a-f]+-/.test(line)) {
      const [, from, to] = MAPPING.exec(line) ?? [];
      mapping = from && to ? { from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) } : undefined;
    } else if (mapping && /^Anonymous: +0 kB$/.test(line)) yield mapping;
  }
}
