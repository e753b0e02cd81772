import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InroError } from "../../base/errors.ts";
import type { Check, Shape } from "./check.ts";
import { readConfig } from "./config.ts";
import { specSchema } from "./schema.ts";
import { defaultSpec } from "./spec.ts";

/** Every field of the schema, wrong in every way that its type can be wrong. */

type Json = unknown;
type Way = (string | number)[];

interface Field {
  way: Way;
  shape: Shape;
  required: boolean;
}

function* fields(check: Check, way: Way, required: boolean): Generator<Field> {
  const { shape } = check;
  if (!shape) return;
  yield { way, shape, required };
  if (shape.kind === "list") yield* fields(shape.item, [...way, 0], false);
  if (shape.kind === "map") yield* fields(shape.item, [...way, "key"], false);
  if (shape.kind !== "object") return;
  for (const [name, field] of Object.entries(shape.fields)) {
    yield* fields(field, [...way, name.replace("!", "")], name.endsWith("!"));
  }
}

/** The least that a check takes. */
function example(check: Check): Json {
  const { shape } = check;
  switch (shape?.kind) {
    case "string":
      return shape.values?.[0] ?? (shape.absolute ? "/x" : "x");
    case "boolean":
      return false;
    case "integer":
      return Math.max(shape.min, 0);
    case "list":
      return [];
    case "object": {
      const required = Object.entries(shape.fields).filter(([name]) => name.endsWith("!"));
      return Object.fromEntries(required.map(([name, field]) => [name.slice(0, -1), example(field)]));
    }
    default:
      return {};
  }
}

/** A config that is right but for `value` at `way`. */
function configWith(way: Way, value: Json): Json {
  const base: Json = { ociVersion: "1.0.0", root: { path: "rootfs" }, process: { cwd: "/", args: ["x"] } };
  const put = (check: Check, given: Json, depth: number): Json => {
    if (depth === way.length) return value;
    const { shape } = check;
    const step = way[depth]!;
    if (shape?.kind === "list") return [put(shape.item, example(shape.item), depth + 1)];
    if (shape?.kind === "map") return { [step]: put(shape.item, example(shape.item), depth + 1) };
    if (shape?.kind !== "object") throw new Error(`no way ${way.join(".")}`);
    const field = (shape.fields[step] ?? shape.fields[`${step}!`])!;
    const before = (given as Record<string, Json>)[step] ?? example(field);
    return { ...(given as object), [step]: put(field, before, depth + 1) };
  };
  return put(specSchema, base, 0);
}

const VALUES: Record<string, Json> = {
  "a string": "text",
  "a number": 7,
  "a boolean": true,
  "an array": [],
  "an object": {},
};

function* wrongValues(shape: Shape): Generator<[Json, string]> {
  const own: Record<Shape["kind"], string> = {
    string: "a string",
    boolean: "a boolean",
    integer: "a number",
    list: "an array",
    map: "an object",
    object: "an object",
  };
  for (const [kind, value] of Object.entries(VALUES)) if (kind !== own[shape.kind]) yield [value, `is ${kind}`];
  if (shape.kind === "string") {
    yield ["/a\0b", "has a NUL"];
    if (shape.values) yield ["NONE_OF_THEM", 'unknown "NONE_OF_THEM"'];
    if (shape.absolute) yield ["relative", "must be an absolute path"];
  }
  if (shape.kind === "integer") {
    for (const value of [shape.min - 1, shape.max + 1, 0.5, 1e308, -1e308]) {
      // Beyond 2^53 the next number is the same one.
      if (value !== shape.min && value !== shape.max) yield [value, "is not an integer from"];
    }
  }
  if (shape.kind === "map") yield [{ "a\0b": 1 }, "has a NUL"];
  if (shape.kind === "list" || shape.kind === "map") yield [shape.kind === "list" ? [null] : { key: null }, "is null"];
}

const name = (way: Way) =>
  way.map((step, i) => (typeof step === "number" ? `[${step}]` : i === 0 ? step : `.${step}`)).join("");

let bundle: string;
beforeAll(() => {
  bundle = mkdtempSync(join(tmpdir(), "inro-schema-"));
  mkdirSync(join(bundle, "rootfs"));
});
afterAll(() => rmSync(bundle, { recursive: true }));

function messageFor(config: Json): string {
  try {
    readConfig(JSON.stringify(config), bundle, () => {});
  } catch (error) {
    expect(error).toBeInstanceOf(InroError);
    expect(["invalid", "notImplemented"]).toContain((error as InroError).kind);
    return (error as Error).message;
  }
  return "no error";
}

const all = [...fields(specSchema, [], true)].filter(({ way }) => way.length > 0);

describe("every field of config.json, wrong", () => {
  test("there are many", () => expect(all.length).toBeGreaterThan(150));

  test.each(all.map((field) => [name(field.way), field] as const))("%s", (place, { way, shape, required }) => {
    for (const [value, words] of wrongValues(shape)) {
      const message = messageFor(configWith(way, value));
      expect(message).toStartWith(`config.json: ${place}`);
      expect(message).toContain(words);
    }
    if (required) {
      for (const absent of [null, undefined]) {
        expect(messageFor(configWith(way, absent))).toBe(`config.json: ${place}: required`);
      }
    }
  });

  test("null is as good as absent, and unknown properties are passed over", () => {
    for (const { way, required } of all) {
      if (required || typeof way.at(-1) === "number" || way.at(-1) === "key") continue;
      const message = messageFor(configWith(way, null));
      expect(message).not.toContain(`${name(way)}: must be`);
    }
    const spec = {
      ...defaultSpec(false),
      surplus: { deep: [1, "x", null] },
      linux: { ...defaultSpec(false).linux, x: 1 },
    };
    expect(messageFor({ ...spec, process: { ...spec.process, surplus: 5 } })).toBe("no error");
  });
});
