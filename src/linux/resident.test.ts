import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { leavePages } from "./resident.ts";

/** Pages of files in this process's page tables (statm, proc(5)). */
const filePages = () => Number(readFileSync("/proc/self/statm", "latin1").split(" ")[2]);

test("the pages of the program go, and come back when they are used", async () => {
  const before = filePages();
  expect(await leavePages()).toBeGreaterThan(10e6);
  const after = filePages();
  expect(after).toBeLessThan(before / 2);
  // Parsers, compilers, the regular expressions' own: code that was not used since.
  const answer = new Function("return JSON.parse('[1, 2]').map((n) => `${n}`.replace(/(?<digit>\\d)/u, '$<digit>!'))");
  expect(answer()).toEqual(["1!", "2!"]);
  expect(filePages()).toBeGreaterThan(after);
});
