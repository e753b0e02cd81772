import { expect, test } from "bun:test";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sys } from "./call.ts";
import { close } from "./file.ts";
import { leavePages } from "./resident.ts";

/** Pages of files in this process's page tables (statm, proc(5)). */
const filePages = () => Number(readFileSync("/proc/self/statm", "latin1").split(" ")[2]);

test("the pages of the program go, and come back when they are used", async () => {
  const before = filePages();
  expect(await leavePages()).toBeGreaterThan(10e6);
  const after = filePages();
  expect(after).toBeLessThan(before / 2);
  // Parsers, compilers, the regular expressions' own: code that was not used since.
  const answer = new Function(
    "return JSON.parse('[1, 2]').map((n) => (n + '').replace(/(?<digit>\\d)/u, '$<digit>!'))",
  );
  expect(answer()).toEqual(["1!", "2!"]);
  expect(filePages()).toBeGreaterThan(after);
});

const LENGTH = 1 << 20;
const PROT_READ = 1;
const MAP_PRIVATE_POPULATE = 0x8002;

test("the pages of another file stay: where that was, somebody's memory may be by now", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-resident-"));
  const path = join(dir, "file");
  writeFileSync(path, Buffer.alloc(LENGTH, 1));
  const fd = openSync(path, "r");
  const at = sys("mmap", path, 0, LENGTH, PROT_READ, MAP_PRIVATE_POPULATE, fd, 0);
  try {
    await leavePages();
    const resident = new RegExp(`${path}\\n(?:.+\\n)*?Rss: +(\\d+) kB`).exec(readFileSync("/proc/self/smaps", "utf8"));
    expect(Number(resident?.[1])).toBe(LENGTH / 1024);
  } finally {
    sys("munmap", path, at, LENGTH);
    close(fd);
    rmSync(dir, { recursive: true });
  }
});
