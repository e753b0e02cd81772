import { expect, test } from "bun:test";
import { idleAfter, pauseToLook } from "./idleness.ts";

const MS = 1e6;
const idle = { since: 1000, cpu: 50 * MS };
const last = { at: 1000, cpu: 50 * MS };

test("one hundredth of a processor is still idle, more is work", () => {
  expect(idleAfter(idle, last, { at: 2000, cpu: 60 * MS, inUse: false })).toBe(idle);
  expect(idleAfter(idle, last, { at: 2000, cpu: 60 * MS + 1, inUse: false })).toEqual({
    since: 2000,
    cpu: 60 * MS + 1,
  });
});

test("use is work, however little CPU it takes", () => {
  expect(idleAfter(idle, last, { at: 2000, cpu: 50 * MS, inUse: true })).toEqual({ since: 2000, cpu: 50 * MS });
});

test("a clock that was set back allows nothing, and makes nobody older", () => {
  expect(idleAfter(idle, last, { at: 500, cpu: 50 * MS, inUse: false })).toBe(idle);
  expect(pauseToLook(idle, 400, 500)).toBe(100);
});

test("four looks in a span, the last of them at its end", () => {
  expect([1000, 1200, 1350, 1400, 1500].map((now) => pauseToLook(idle, 400, now))).toEqual([
    100,
    100,
    50,
    undefined,
    undefined,
  ]);
});
