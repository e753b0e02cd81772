import { expect, test } from "bun:test";
import { parseChallenges } from "./challenge.ts";

const cases: [string, [string, Record<string, string>][]][] = [
  ['Basic realm="x"', [["basic", { realm: "x" }]]],
  [
    'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"',
    [["bearer", { realm: "https://a/token", service: "s", scope: "repository:a/b:pull,push" }]],
  ],
  [
    'Basic realm="a", Bearer realm=b,error="invalid_token"',
    [
      ["basic", { realm: "a" }],
      ["bearer", { realm: "b", error: "invalid_token" }],
    ],
  ],
  ['Bearer realm="a \\"q\\" b"', [["bearer", { realm: 'a "q" b' }]]],
  ["Negotiate", [["negotiate", {}]]],
  ['realm="x"', []],
  ['"', []],
  ["", []],
];
for (const [header, expected] of cases) {
  test(header || "empty", () => {
    const found = parseChallenges(header).map(({ scheme, params }) => [scheme, { ...params }]);
    expect(found as unknown).toEqual(expected);
  });
}

test("an endless header is read in bounded time", () => {
  const started = performance.now();
  parseChallenges(`Bearer realm="${"\\".repeat(100_000)}`);
  parseChallenges("a, ".repeat(100_000));
  expect(performance.now() - started).toBeLessThan(500);
});
