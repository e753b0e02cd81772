import { expect, test } from "bun:test";
import { readSync, writeSync } from "node:fs";
import { close } from "./file.ts";
import { pipe } from "./process.ts";
import { Readiness } from "./readiness.ts";

const cases = [
  ["by asynchronous polls", new Readiness()],
  ["by a timer, where there are none", new Readiness(0)],
  ["by both, where there are not enough", new Readiness(2)],
] as const;

test.each(cases)("%s: what can be read is told once, and stays there", async (_, readiness) => {
  const pipes = Array.from({ length: 100 }, () => pipe());
  const order: number[] = [];
  const all = pipes.map(
    ([read], i) =>
      new Promise<void>((resolve) =>
        readiness.wait(read, () => {
          order.push(i);
          resolve();
        }),
      ),
  );
  for (const [i, [, write]] of pipes.entries()) writeSync(write, `pipe ${i}`);
  await Promise.all(all);
  expect(order.toSorted((a, b) => a - b)).toEqual(pipes.map((_, i) => i));
  const buffer = Buffer.alloc(16);
  for (const [i, [read]] of pipes.entries()) {
    expect(buffer.toString("utf8", 0, readSync(read, buffer))).toBe(`pipe ${i}`);
  }
  // The end is told too, also when it was there before.
  close(pipes[0]![1]);
  await new Promise<void>((resolve) => readiness.wait(pipes[0]![0], resolve));
  expect(readSync(pipes[0]![0], buffer)).toBe(0);
  for (const [read, write] of pipes.slice(1)) for (const fd of [read, write]) close(fd);
  close(pipes[0]![0]);
});

test.each(cases)("%s: one that is forgotten is not told", async (_, readiness) => {
  const [read, write] = pipe();
  const told: string[] = [];
  const forget = readiness.wait(read, () => told.push("forgotten"));
  forget();
  forget();
  const other = new Promise<void>((resolve) => readiness.wait(read, resolve));
  writeSync(write, "x");
  await other;
  expect(told).toEqual([]);
  for (const fd of [read, write]) close(fd);
});
