import { describe, expect, test } from "bun:test";
import { LONGEST_NAME, matchGlob, safePattern } from "./pattern.ts";

describe("patterns of clients", () => {
  test.each(["^web-[0-9]+$", "^(a|b)-.*$", "web.*prod", "a{2,3}", "(?:x|y)", "[*+?|]{1}", "\\*\\+\\?"])(
    "%s is taken",
    (source) => expect(safePattern(source)).toBeInstanceOf(RegExp),
  );

  test.each(["(a+)+", "(a|a)*", "a*".repeat(12), "a?".repeat(30), "(a|a)".repeat(30), "(", "x".repeat(300)])(
    "%s is not",
    (source) => expect(safePattern(source)).toBeUndefined(),
  );

  test("the worst that is taken ends soon on the longest name", () => {
    const begun = performance.now();
    for (const source of ["a*a*a*b", ".*.*.*b", `${"a?".repeat(13)}a*b`]) {
      safePattern(source)?.test("a".repeat(LONGEST_NAME));
    }
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
});

test("globs", () => {
  for (const [pattern, text] of [
    ["busybox*", "busybox:latest"],
    ["*/*:1.?", "team/app:1.2"],
    ["a*b*c", "aXbXbc"],
    ["*", ""],
    ["**", "abc"],
  ] as const) {
    expect([pattern, text, matchGlob(pattern, text)]).toEqual([pattern, text, true]);
  }
  for (const [pattern, text] of [
    ["*", "a/b"],
    ["a?", "a"],
    ["a*b", "abc"],
    ["a.c", "abc"],
    [`${"a*".repeat(100)}b`, "a".repeat(LONGEST_NAME)],
  ] as const) {
    expect([pattern, text, matchGlob(pattern, text)]).toEqual([pattern, text, false]);
  }
});
