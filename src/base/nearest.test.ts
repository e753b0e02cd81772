import { expect, test } from "bun:test";
import { didYouMean, nearest } from "./nearest.ts";

const known = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "CAP_SYS_ADMIN", "run", "rm", "ps"];

test("a slip of one letter, a swap and wrong case find their word", () => {
  expect(nearest("SCMP_ACT_ALOW", known)).toBe("SCMP_ACT_ALLOW");
  expect(nearest("urn", known)).toBe("run");
  expect(nearest("scmp_act_errno", known)).toBe("SCMP_ACT_ERRNO");
  expect(nearest("CAP_SYS_ADMNI", known)).toBe("CAP_SYS_ADMIN");
});

test("the first of equally near words wins", () => {
  expect(nearest("ab", ["ac", "ad"])).toBe("ac");
  expect(nearest("abc", ["abd", "abc"])).toBe("abc");
});

test("what is far, empty or very long has no neighbour", () => {
  expect(nearest("network", known)).toBeUndefined();
  expect(nearest("", known)).toBeUndefined();
  expect(nearest("x".repeat(65), ["x".repeat(65)])).toBeUndefined();
});

test("the tail of a message", () => {
  expect(didYouMean("rnu", known)).toBe(" (did you mean run?)");
  expect(didYouMean("zzzzzz", known)).toBe("");
});
