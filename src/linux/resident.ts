import { readFile, readlink } from "node:fs/promises";
import { trySys } from "./call.ts";
import * as k from "./constants.ts";

/**
 * Takes the pages of this process's program out of its page tables: those that are used again come back out of the page
 * cache, sixteen at a time, those that only the start needed do not, and are the kernel's to reuse. Only mappings that
 * cannot be written and of which no page is the process's own copy: their contents are the file's. Resolves to the bytes
 * taken.
 */
export async function leavePages(): Promise<number> {
  let bytes = 0;
  const [smaps, program] = await Promise.all([readFile("/proc/self/smaps", "utf8"), readlink("/proc/self/exe")]);
  for (const { from, to } of untouched(smaps, program)) {
    if (trySys("madvise", from, to - from, k.MADV_DONTNEED) === 0) bytes += to - from;
  }
  return bytes;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$/;

/**
 * The mappings of proc(5)'s smaps that are as the program's file is. The program's alone, which are there to the end:
 * where another file's was, somebody's memory may be by now.
 */
function* untouched(smaps: string, program: string): Generator<{ from: number; to: number }> {
  let mapping: { from: number; to: number } | undefined;
  for (const line of smaps.split("\n")) {
    const [, from, to, rights, path] = MAPPING.exec(line) ?? [];
    if (from && to) {
      const wanted = path === program && /^r-[-x]p$/.test(rights!);
      mapping = wanted ? { from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) } : undefined;
    } else if (mapping && /^Anonymous: +0 kB$/.test(line)) yield mapping;
  }
}
