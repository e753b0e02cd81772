import { expect, test } from "bun:test";
import { parseDuration } from "../base/duration.ts";
import { DetachFilter, parseDetachKeys } from "./detach-keys.ts";
import { binarySize, humanDuration, humanSize } from "./human.ts";
import { align, formatRows } from "./table.ts";
import { truncate } from "./text.ts";
import { resolveTime } from "./time.ts";

test.each([
  [0, "0B"],
  [999, "999B"],
  [1000, "1kB"],
  [7_834_000, "7.83MB"],
  [117_000_000, "117MB"],
  [1_234_567_890, "1.23GB"],
])("%d bytes are %s", (bytes, text) => {
  expect(humanSize(bytes)).toBe(text);
});

test("binary sizes have four digits", () => {
  expect(binarySize(8_335_560_704)).toBe("7.763GiB");
  expect(binarySize(1024)).toBe("1KiB");
});

test.each([
  [0.5, "Less than a second"],
  [1, "1 second"],
  [59, "59 seconds"],
  [60, "About a minute"],
  [119, "About a minute"],
  [120, "2 minutes"],
  [3600, "About an hour"],
  [47 * 3600, "47 hours"],
  [48 * 3600, "2 days"],
  [14 * 24 * 3600, "2 weeks"],
  [60 * 24 * 3600, "2 months"],
  [730 * 24 * 3600, "2 years"],
])("%d s are %s", (seconds, text) => {
  expect(humanDuration(seconds)).toBe(text);
});

test("columns are at least ten wide and three apart", () => {
  expect(align(["ID\tLONG NAME\tLAST", "a\tsomething longer\tx"])).toBe(
    "ID        LONG NAME          LAST\na         something longer   x\n",
  );
});

test("--format: the usual table, a table, json, a template", () => {
  const rows = [{ ID: "1", Name: "a", Label: (key: unknown) => `<${key}>` }];
  const headers = { ID: "ID", Name: "NAME", Label: "" };
  const format = (text: string) => formatRows(text, "{{.ID}}\t{{.Name}}", rows, headers);
  expect(format("")).toBe("ID        NAME\n1         a\n");
  expect(format('table {{.Name}}\\t{{.Label "a.b"}}')).toBe("NAME      b\na         <a.b>\n");
  expect(format("json")).toBe('{"ID":"1","Name":"a"}\n');
  expect(format("{{json .}}")).toBe('{"ID":"1","Name":"a"}\n');
  expect(format("{{.Name}}/{{.ID}}")).toBe("a/1\n");
});

test("truncation counts characters", () => {
  expect(truncate("äöü", 3)).toBe("äöü");
  expect(truncate("äöüx", 3)).toBe("äö…");
});

test("durations and times", () => {
  expect(parseDuration("1h30m")).toBe(5400);
  expect(parseDuration("1.5s")).toBe(1.5);
  expect(parseDuration("5x")).toBeUndefined();
  // Longer than Go counts; and what takes half an hour where a digit has two places.
  expect([parseDuration("2562047h"), parseDuration("2562048h")]).toEqual([2562047 * 3600, undefined]);
  expect(parseDuration(`${"1".repeat(1 << 20)}x`)).toBeUndefined();
  expect(resolveTime("")).toBeUndefined();
  expect(resolveTime("12.5")).toBe("12.5");
  expect(resolveTime("10s", 20_000)).toBe("10.000000000");
  expect(resolveTime("2026-01-02T03:04:05.5Z")).toBe(`${Date.UTC(2026, 0, 2, 3, 4, 5) / 1000}.500000000`);
  expect(resolveTime("1969-12-31T23:59:58.5Z")).toBe("-2.500000000");
  expect(resolveTime("2026-01-02T03+0100")).toBe(`${Date.UTC(2026, 0, 2, 2) / 1000}.000000000`);
  expect(() => resolveTime("yesterday")).toThrow("failed to parse");
});

test("detach keys: every cut of the input gives the same", () => {
  expect(parseDetachKeys("ctrl-p,ctrl-q")).toEqual([16, 17]);
  expect(parseDetachKeys("a,ctrl-@,ctrl-_")).toEqual([97, 0, 31]);
  expect(() => parseDetachKeys("ctrl-")).toThrow("invalid detach keys");
  const input = Buffer.from([1, 16, 2, 16, 16, 17, 9]);
  for (let cut = 0; cut <= input.length; cut++) {
    const filter = new DetachFilter([16, 17]);
    const out = [...filter.push(input.subarray(0, cut))];
    if (!filter.detached) out.push(...filter.push(input.subarray(cut)));
    expect(out).toEqual([1, 16, 2, 16]);
    expect(filter.detached).toBe(true);
  }
});
