import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BadPattern, goMatch } from "./glob.ts";
import { IgnoreRules } from "./ignore.ts";

/** Patterns (one line each), a path, and whether it stays out. */
const EXCLUDED: readonly (readonly [string, string, boolean])[] = [
  ["", "a", false],
  ["a", "a", true],
  ["a", "b", false],
  ["a", "a/b/c", true],
  ["a", "b/a", false],
  ["/a", "a", true],
  ["a/", "a", true],
  ["a/", "a/b", true],
  ["./a", "a", true],
  ["a/../b", "b", true],
  ["a//b", "a/b", true],
  ["  a  ", "a", true],
  ["#a", "#a", false],
  [" #a", "#a", true],
  ["\uFEFFa", "a", true],
  ["a\r", "a", true],
  [".", "a", false],
  ["*", "a", true],
  ["*", "a/b", true],
  ["*.go", "a.go", true],
  ["*.go", "a/b.go", false],
  ["*/b", "a/b", true],
  ["*/b", "a/c/b", false],
  ["*/*/b", "a/c/b", true],
  ["?", "a", true],
  ["?", "ab", false],
  ["a?c", "a/c", false],
  ["[ab]", "a", true],
  ["[^ab]", "a", false],
  ["[a-c]x", "bx", true],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["**", "a/b/c", true],
  ["**/a", "a", true],
  ["**/a", "b/a", true],
  ["**/a", "b/c/a", true],
  ["**/a", "b/ca", false],
  ["**/a", "b/a/c", true],
  ["**/*.go", "a.go", true],
  ["**/*.go", "a/b/c.go", true],
  ["**/*.go", "a/b/c.gox", false],
  ["a/**", "a/b/c", true],
  ["a/**", "ab", false],
  ["a/**/b", "a/b", true],
  ["a/**/b", "a/c/b", true],
  ["a/**/b", "a/c/d/b", true],
  ["a/**/b", "a/cb", false],
  ["**/a/**/b", "x/a/y/z/b", true],
  ["a**", "abc", true],
  ["a.b", "axb", false],
  ["a+(b)", "a+(b)", true],
  ["a$", "a$", true],
  ["*\n!a", "a", false],
  ["*\n!a", "b", true],
  ["*\n! a", "a", false],
  ["a\n!a/b", "a/b", false],
  ["a\n!a/b", "a/c", true],
  ["a\n!a/b\na/b/c", "a/b/c", true],
  ["!a\na", "a", true],
  ["a\n!a\na", "a", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README-x.md", false],
  ["**\n!src/**/*.ts", "src/a/b.ts", false],
  ["**\n!src/**/*.ts", "src/a/b.js", true],
];

describe(".dockerignore", () => {
  for (const [text, path, expected] of EXCLUDED) {
    test(`${JSON.stringify(text)} and ${path}`, () => {
      expect(IgnoreRules.parse(text).excludes(path)).toBe(expected);
    });
  }
  for (const wrong of ["!", "a[", "[a-]", "[]", "\\"]) {
    test(`${wrong} is refused`, () => expect(() => IgnoreRules.parse(wrong)).toThrow(/illegal exclusion|syntax error/));
  }
});

/** Patterns, a directory, and whether a walk must go in. */
const WALKED: readonly (readonly [string, string, boolean])[] = [
  ["a", "a", false],
  ["a", "b", true],
  ["a\n!a/b", "a", true],
  ["a\n!b/c", "a", false],
  ["a\n!a/b/c", "a/b", true],
  ["a\n!a/b/c", "a/x", false],
  ["*\n!**/keep", "x", true],
];

describe("directories that a walk leaves out", () => {
  for (const [text, path, expected] of WALKED) {
    test(`${JSON.stringify(text)} and ${path}`, () => expect(IgnoreRules.parse(text).mayContain(path)).toBe(expected));
  }
});

/** `filepath.Match`: pattern, path, whether they match (undefined: a bad pattern). */
const MATCHES: readonly (readonly [string, string, boolean | undefined])[] = [
  ["abc", "abc", true],
  ["*", "abc", true],
  ["*c", "abc", true],
  ["a*", "a", true],
  ["a*", "ab/c", false],
  ["a*/b", "abc/b", true],
  ["a*b*c*d*e*/f", "axbxcxdxe/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["ab[c]", "abc", true],
  ["ab[b-d]", "abc", true],
  ["ab[e-g]", "abc", false],
  ["ab[^c]", "abc", false],
  ["ab[^e-g]", "abc", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "ab", false],
  ["a?b", "a☺b", true],
  ["a[^a]b", "a☺b", true],
  ["a???b", "a☺b", false],
  ["[a-ζ]*", "α", true],
  ["*[a-ζ]", "A", false],
  ["a?b", "a/b", false],
  ["a*b", "a/b", false],
  ["[\\]a]", "]", true],
  ["[\\-]", "-", true],
  ["[x\\-]", "x", true],
  ["[\\-x]", "a", false],
  ["*x", "xxx", true],
  ["**", "a/b", false],
  ["[]a]", "]", undefined],
  ["[-]", "-", undefined],
  ["[x-]", "x", undefined],
  ["[a-b-c]", "a", undefined],
  ["[", "a", undefined],
  ["[^", "a", undefined],
  ["[^bc", "a", undefined],
  ["a[", "ab", undefined],
  ["a\\", "a", undefined],
];

describe("filepath.Match", () => {
  for (const [pattern, path, expected] of MATCHES) {
    test(`${pattern} and ${path}`, () => {
      if (expected === undefined) expect(() => goMatch(pattern, path)).toThrow(BadPattern);
      else expect(goMatch(pattern, path)).toBe(expected);
    });
  }
});

test("a pattern of stars takes no exponential time", () => {
  expect(goMatch(`${"a*".repeat(500)}b`, "a".repeat(5000))).toBe(false);
  expect(IgnoreRules.parse(`${"**/a*".repeat(200)}b`).excludes("a/".repeat(500))).toBe(false);
});

test("a pattern with all its characters escaped matches itself alone", () => {
  const name = fc.string({ minLength: 1 }).filter((text) => !text.includes("/"));
  fc.assert(
    fc.property(name, name, (text, other) => {
      const pattern = text.replace(/[*?[\]\\]/g, "\\$&");
      expect(goMatch(pattern, text)).toBe(true);
      expect(goMatch(pattern, other)).toBe(other === text);
    }),
  );
});
