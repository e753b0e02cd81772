import { expect, test } from "bun:test";
import { pruneFilters } from "./filters.ts";
import { parseFlags } from "./flags.ts";

test.each([
  [[], ["label!=keep"], { "label!": ["keep"] }],
  [["label=a=b"], ["label=c"], { label: ["a=b", "c"] }],
  [["label=keep"], ["label!=keep", "until=24h"], { label: ["keep"], until: ["24h"] }],
  [["label!=x"], ["label=x", "label="], { "label!": ["x"] }],
])("%j with config.json's %j", (given, configured, expected) => {
  const flags = [{ name: "filter", type: "list", help: "" }] as const;
  const { options } = parseFlags(
    flags,
    given.map((one) => `--filter=${one}`),
  );
  expect(pruneFilters({ options, config: { pruneFilters: configured } })).toEqual(expected as never);
});
