import { expect, test } from "bun:test";
import { parseJson, stringifyJson } from "./json.ts";

test.each([
  ['{"soft":18446744073709551615}', { soft: 18446744073709551615n }],
  ['{"a":[{"hard":9007199254740993}]}', { a: [{ hard: 9007199254740993n }] }],
  ['{"hard":9007199254740991}', { hard: 9007199254740991 }],
  ['{"limit":18446744073709551615}', { limit: 2 ** 64 }],
  ['{"value":1e300}', { value: 1e300 }],
  ['{"value":"18446744073709551615"}', { value: "18446744073709551615" }],
  ['{"value":-9223372036854775809}', { value: -(2 ** 63) }],
])("%s", (text, value) => expect(parseJson(text)).toEqual(value));

test("what is written is read back", () => {
  const value = { soft: 18446744073709551615n, hard: 7, annotations: { a: "b" }, list: [{ value: 2n ** 63n }] };
  expect(stringifyJson(value)).toBe(
    '{"soft":18446744073709551615,"hard":7,"annotations":{"a":"b"},"list":[{"value":9223372036854775808}]}',
  );
  expect(parseJson(stringifyJson(value))).toEqual(value);
});

test("bad JSON is an error with many digits too", () => {
  expect(() => parseJson('{"soft":18446744073709551615')).toThrow(SyntaxError);
});
