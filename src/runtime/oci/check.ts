import { invalid } from "../../base/errors.ts";

/** What a check takes, to be walked through: the tests go through every field. */
export type Shape =
  | { kind: "string"; values?: readonly string[]; absolute?: true }
  | { kind: "boolean" }
  | { kind: "integer"; min: number; max: number }
  | { kind: "list" | "map"; item: Check }
  | { kind: "object"; fields: Record<string, Check> };

/**
 * Hand-written checks of JSON: each throws an invalid-argument error that names the place. Unknown properties pass. One
 * without a shape takes any JSON.
 */
export type Check = ((value: unknown, at: string) => void) & { readonly shape?: Shape };

const of = (shape: Shape, check: (value: unknown, at: string) => void): Check => Object.assign(check, { shape });

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function wrong(at: string, wanted: string, value: unknown): Error {
  return invalid(`config.json: ${at || "the file"}: must be ${wanted}, is ${kindOf(value)}`);
}

export const text = of({ kind: "string" }, (value, at) => {
  if (typeof value !== "string") throw wrong(at, "a string", value);
  if (value.includes("\0")) throw invalid(`config.json: ${at}: has a NUL`);
});

export const boolean = of({ kind: "boolean" }, (value, at) => {
  if (typeof value !== "boolean") throw wrong(at, "true or false", value);
});

/** Whole numbers; beyond 2^53 they lose their last digits, as in any JSON of double precision. */
export const integer = (min: number, max: number): Check =>
  of({ kind: "integer", min, max }, (value, at) => {
    if (typeof value !== "number") throw wrong(at, "a number", value);
    if (!Number.isInteger(value) || value < min || value > max) {
      throw invalid(`config.json: ${at}: ${value} is not an integer from ${min} to ${max}`);
    }
  });

export const i32 = integer(-(2 ** 31), 2 ** 31 - 1);
export const u32 = integer(0, 0xffff_ffff);
export const i64 = integer(-(2 ** 63), 2 ** 63);
const rounded = integer(0, 2 ** 64);
/** A bigint is what json.ts keeps exact. */
export const u64 = of(rounded.shape!, (value, at) => {
  if (typeof value !== "bigint") rounded(value, at);
  else if (value < 0n || value >= 1n << 64n)
    throw invalid(`config.json: ${at}: ${value} is not an unsigned 64-bit integer`);
});

export const oneOf = (...values: readonly string[]): Check =>
  of({ kind: "string", values }, (value, at) => {
    text(value, at);
    if (!values.includes(value as string)) {
      throw invalid(`config.json: ${at}: unknown ${JSON.stringify(value)}; known: ${values.join(" ")}`);
    }
  });

export const absolute = of({ kind: "string", absolute: true }, (value, at) => {
  text(value, at);
  if (!(value as string).startsWith("/")) throw invalid(`config.json: ${at}: must be an absolute path, is ${value}`);
});

export const list = (item: Check, min = 0): Check =>
  of({ kind: "list", item }, (value, at) => {
    if (!Array.isArray(value)) throw wrong(at, "an array", value);
    if (value.length < min) throw invalid(`config.json: ${at}: must have at least ${min} entry`);
    for (let i = 0; i < value.length; i++) item(value[i], `${at}[${i}]`);
  });

export const map = (item: Check): Check =>
  of({ kind: "map", item }, (value, at) => {
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw wrong(at, "an object", value);
    for (const key in value) {
      if (key.includes("\0")) throw invalid(`config.json: ${at}: the name ${JSON.stringify(key)} has a NUL`);
      item((value as Record<string, unknown>)[key], `${at}.${key}`);
    }
  });

/** `!` after a name: required. null counts as absent, as Go's encoder writes it. */
export const object = (fields: Record<string, Check>): Check => {
  const entries = Object.entries(fields).map(([name, check]) => {
    const required = name.endsWith("!");
    return { name: required ? name.slice(0, -1) : name, check, required };
  });
  return of({ kind: "object", fields }, (value, at) => {
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw wrong(at, "an object", value);
    const record = value as Record<string, unknown>;
    for (const { name, check, required } of entries) {
      const field = record[name];
      const place = at ? `${at}.${name}` : name;
      if (field === undefined || field === null) {
        if (required) throw invalid(`config.json: ${place}: required`);
        // What follows may rely on absent being undefined.
        if (field === null) delete record[name];
      } else check(field, place);
    }
  });
};

/** Any JSON: looked at elsewhere. */
export const anything: Check = () => {};
