import { expect, test } from "bun:test";
import type { ContainerRecord } from "../store.ts";
import { extraAttributes, logTag } from "./attributes.ts";

const record = (Config: Record<string, string>) =>
  ({
    ...{ id: "f".repeat(64), name: "web", image: "busybox", imageId: "sha256:1", created: "2026-01-02T15:04:05Z" },
    config: { Env: ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=1", "B=2"], Labels: {} },
    host: { LogConfig: { Config } },
  }) as never as ContainerRecord;

test("a tag is a template of what is known, and of bounded work", () => {
  const tag = (template: string) => logTag(record({ tag: template }), "");
  expect(tag('{{.Name}}/{{.ID}}{{if .ImageName}} {{printf "%10s" .ImageName}}{{end}}')).toBe(
    "web/ffffffffffff    busybox",
  );
  for (const [template, why] of [
    ["{{range 1000000}}{{range 1000000}}x{{end}}{{end}}", "range"],
    ['{{with printf "%s%s" .ID .ID}}{{.}}{{end}}', "with"],
    ['{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}', "define"],
    ['{{$x := "aa"}}{{$x = print $x $x}}', "variables"],
    ["{{if false}}{{else with .ID}}{{end}}", "with"],
    ["x".repeat(5000), "longer"],
  ] as const) {
    expect(() => tag(template)).toThrow(why);
  }
  expect(tag('{{printf "%999999999s" .ID}}').length).toBeLessThan(100);
  expect(tag("{{pad .ID 999999999 0}}").length).toBeLessThan(100_000);
});

test("a pattern that could be tried for ever is refused", () => {
  const attributes = (pattern: string) => extraAttributes(record({ "env-regex": pattern }));
  expect(attributes("^B")).toEqual({ B: "2" });
  expect(() => attributes("(A+)+$")).toThrow("too many repetitions");
  expect(() => attributes(`${"A*".repeat(20)}C`)).toThrow("too many repetitions");
  expect(() => attributes("(")).toThrow("error parsing regexp");
});
