// biome-ignore-all lint/suspicious/noTemplateCurlyInString: words of Dockerfiles have the form
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SyntaxFault } from "./error.ts";
import { Expander } from "./expand.ts";

const ENV: Readonly<Record<string, string>> = {
  v: "value",
  empty: "",
  path: "/usr/local/lib/a.tar.gz",
  dots: "a.b.c.d",
  two: "two words",
  stars: "a*b?c",
  wide: "é世😀x",
  "1": "one",
  aaa: "aaaa",
  lines: "a\nb",
  regex: "()[]{}^$.*?|\\x",
};
const lookup = (name: string) => (Object.hasOwn(ENV, name) ? ENV[name] : undefined);

/** Text, and the word it becomes. */
const WORDS: readonly (readonly [string, string])[] = [
  ["", ""],
  ["plain", "plain"],
  ["$v", "value"],
  ["${v}", "value"],
  ["a$v", "avalue"],
  ["$v/b", "value/b"],
  ["$v$v", "valuevalue"],
  ["${v}x", "valuex"],
  ["$vx", ""],
  ["$none", ""],
  ["${none}", ""],
  ["$", "$"],
  ["a$", "a$"],
  ["$ v", "$ v"],
  ["$/v", "$/v"],
  ["$1", "one"],
  ["$12", ""],
  ["$1a", "onea"],
  ["$@x", "x"],
  ["$?", ""],
  ["\\$v", "$v"],
  ["\\\\$v", "\\value"],
  ["\\a", "a"],
  ["a\\", "a"],
  ["a\\ b", "a b"],
  ["'$v'", "$v"],
  ["'a b'", "a b"],
  ["'\\'", "\\"],
  ['"$v"', "value"],
  ['"${v}"', "value"],
  ['"\\$v"', "$v"],
  ['"\\""', '"'],
  ['"\\\\"', "\\"],
  ['"\\n"', "\\n"],
  ["\"'$v'\"", "'value'"],
  ["'\"'", '"'],
  ["a'b'\"c\"d", "abcd"],
  ["''", ""],
  ["${v:-w}", "value"],
  ["${empty:-w}", "w"],
  ["${none:-w}", "w"],
  ["${v-w}", "value"],
  ["${empty-w}", ""],
  ["${none-w}", "w"],
  ["${none:-}", ""],
  ["${none:-a b}", "a b"],
  ["${none:-$v}", "value"],
  ["${none:-${none:-deep}}", "deep"],
  ["${none:-'$v'}", "$v"],
  ['${none:-"$v"}', "value"],
  ["${none:-\\}}", "}"],
  ["${v:+w}", "w"],
  ["${empty:+w}", ""],
  ["${none:+w}", ""],
  ["${v+w}", "w"],
  ["${empty+w}", "w"],
  ["${none+w}", ""],
  ["${v:+$dots}", "a.b.c.d"],
  ["${v:?no}", "value"],
  ["${v?no}", "value"],
  ["${empty?no}", ""],
  ["${path#/}", "usr/local/lib/a.tar.gz"],
  ["${path#*/}", "usr/local/lib/a.tar.gz"],
  ["${path##*/}", "a.tar.gz"],
  ["${path%/*}", "/usr/local/lib"],
  ["${path%%/*}", ""],
  ["${path%.*}", "/usr/local/lib/a.tar"],
  ["${path%%.*}", "/usr/local/lib/a"],
  ["${path%nothing}", "/usr/local/lib/a.tar.gz"],
  ["${path#nothing}", "/usr/local/lib/a.tar.gz"],
  ["${dots#?}", ".b.c.d"],
  ["${dots##*.}", "d"],
  ["${dots%.?}", "a.b.c"],
  ["${dots%%.?}", "a.b.c"],
  ["${stars#a\\*}", "b?c"],
  ["${stars%\\?c}", "a*b"],
  ["${none#x}", ""],
  ["${wide#?}", "世😀x"],
  ["${wide%x}", "é世😀"],
  ["${wide%?x}", "é世"],
  ["${dots/./-}", "a-b.c.d"],
  ["${dots//./-}", "a-b-c-d"],
  ["${dots//./}", "abcd"],
  ["${dots/*./-}", "-d"],
  ["${path//\\//-}", "-usr-local-lib-a.tar.gz"],
  ["${path/\\/usr/\\/opt}", "\\/opt/local/lib/a.tar.gz"],
  ["${v/nothing/x}", "value"],
  ["${v/?/x}", "xalue"],
  ["${v//?/x}", "xxxxx"],
  ["${v//*/x}", "x"],
  ["${aaa//aa/b}", "bb"],
  ["${aaa/a*/b}", "b"],
  ["${v/a/$dots}", "va.b.c.dlue"],
  ["${v/$v/x}", "x"],
  ["${lines%\\*}", "a\nb"],
  ["${lines##*}", "\nb"],
  ["${none/x/y}", ""],
  ["${v#}", "value"],
  ["${v##}", "value"],
  ["${v%$empty}", "value"],
  ["${v/$empty/ww}", "wwvalue"],
  ["${v///}", "value"],
  ["${none///}", ""],
  ["${regex#()[]{\\}^$.\\*\\?|\\\\}", "x"],
  ["${v:+-${v}}", "-value"],
  ["${two}", "two words"],
  ["世$v", "世value"],
  ["$世", ""],
];

describe("a word", () => {
  for (const [text, expected] of WORDS) {
    test(text || "nothing", () => expect(new Expander().word(text, lookup)).toBe(expected));
  }
});

const WRONG: readonly (readonly [string, string])[] = [
  ["${", "missing '}'"],
  ["${}", "bad substitution"],
  ["${{v}}", "bad substitution"],
  ["${:v}", "bad substitution"],
  ["${v", "missing '}'"],
  ["${v:-w", "missing '}'"],
  ["${v:", "unsupported modifier (:)"],
  ["${v:=w}", "unsupported modifier (:=)"],
  ["${v=w}", "unsupported modifier (=)"],
  ["${v@Q}", "unsupported modifier (@)"],
  ["${v:#w}", "unsupported modifier (:#)"],
  ["${none:?}", "none: is not allowed to be unset"],
  ["${none?}", "none: is not allowed to be unset"],
  ["${empty:?}", "empty: is not allowed to be empty"],
  ["${none:?tell me}", "none: tell me"],
  ["${dots//.}", "missing '/' in ${}"],
  ["${dots/a/b", "missing '}'"],
  ["${v#\\x}", "invalid pattern"],
  ["'a", "matching single-quote"],
  ['"a', "matching double-quote"],
  ['"a\\', "matching double-quote"],
];

describe("a wrong word", () => {
  for (const [text, message] of WRONG) {
    test(text, () => expect(() => new Expander().word(text, lookup)).toThrow(message));
  }
});

const SPLIT: readonly (readonly [string, readonly string[]])[] = [
  ["", []],
  ["  ", []],
  ["a b", ["a", "b"]],
  [" a  b ", ["a", "b"]],
  ["$two", ["two", "words"]],
  ["x${two}y", ["xtwo", "wordsy"]],
  ['"$two"', ["two words"]],
  ["'a b' c", ["a b", "c"]],
  ["a\\ b", ["a b"]],
  ["$none", []],
  ["a$none b", ["a", "b"]],
  ["a\tb\nc", ["a", "b", "c"]],
];

describe("words", () => {
  for (const [text, expected] of SPLIT) {
    test(JSON.stringify(text), () => expect(new Expander().words(text, lookup)).toEqual([...expected]));
  }
});

test("the backtick escapes when the directive says so", () => {
  expect(new Expander("`").word("`$v \\$v `", lookup)).toBe("$v \\value ");
});

test("bodies of heredocs: quotes are ordinary characters", () => {
  expect(new Expander("\\", { plainQuotes: true }).word(`'$v' "x"`, lookup)).toBe(`'value' "x"`);
});

test("raw quotes, raw escapes and unset variables stay", () => {
  const expander = new Expander("\\", { rawQuotes: true, rawEscapes: true, keepUnset: true });
  expect(expander.word(`'a' "b" \\c $none \${none:-x} $v`, lookup)).toBe(`'a' "b" \\c $none \${none:-x} value`);
});

test("names that were used, and those that are not set", () => {
  const expander = new Expander();
  expander.word("$v ${none:-x} '$two'", lookup);
  expect([...expander.matched]).toEqual(["v"]);
  expect([...expander.unmatched]).toEqual(["none"]);
});

test("a value that doubles itself forty times is refused", () => {
  let value = "x".repeat(1024);
  const expander = new Expander();
  const twice = () => {
    for (let i = 0; i < 40; i++) value = expander.word("$a$a", () => value);
  };
  expect(twice).toThrow("longer than");
  expect(value.length).toBeLessThanOrEqual(1 << 20);
});

test("hostile megabytes are answered", () => {
  const size = 1 << 20;
  const env = (name: string) => (name === "a" ? "a".repeat(size) : undefined);
  const expander = new Expander();
  expect(() => expander.word("${a:-".repeat(size / 5), env)).toThrow("inside each other");
  expect(() => expander.word("'".repeat(size + 1), env)).toThrow(SyntaxFault);
  expect(() => expander.word(`\${a//${"a*".repeat(200)}b/}`, env)).toThrow("too costly");
  expect(expander.words("a ".repeat(size / 2), env)).toHaveLength(size / 2);
});

test("any text is a word or a SyntaxFault", () => {
  const piece = fc.oneof(
    fc.constantFrom("$", "${", "}", ":-", "#", "%", "/", "'", '"', "\\", "v", "none", " "),
    fc.string(),
  );
  fc.assert(
    fc.property(
      fc.array(piece).map((parts) => parts.join("")),
      (text) => {
        try {
          expect(typeof new Expander().word(text, lookup)).toBe("string");
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxFault);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("text in single quotes is itself", () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes("'")),
      (text) => expect(new Expander().word(`'${text}'`, lookup)).toBe(text),
    ),
  );
});
