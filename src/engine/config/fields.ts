import { invalid } from "../../base/errors.ts";

/**
 * Checks that turn untrusted JSON into typed values. `at` is the field's path, for the message. As in Go's decoder,
 * `null` is an absent field and unknown fields are left out; everything else of the wrong type is `invalid`.
 */
export type Check<T> = (value: unknown, at: string) => T;

/** The kernel takes no single argument or variable beyond this (MAX_ARG_STRLEN, execve(2)). */
const MAX_TEXT = 128 * 1024;
/** Labels hold whole documents; so do security options (a seccomp profile). */
const MAX_DOCUMENT = 4 * 1024 * 1024;
const MAX_ENTRIES = 10_000;

function kind(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return typeof value === "string" ? "a string" : typeof value === "number" ? "a number" : `a ${typeof value}`;
}

const mismatch = (at: string, expected: string, value: unknown) =>
  invalid(`invalid JSON: ${at}: expected ${expected}, got ${kind(value)}`);

export const boolean: Check<boolean> = (value, at) => {
  if (typeof value !== "boolean") throw mismatch(at, "a boolean", value);
  return value;
};

function bounded(limit: number): Check<string> {
  return (value, at) => {
    if (typeof value !== "string") throw mismatch(at, "a string", value);
    if (value.length > limit) throw invalid(`${at}: longer than ${limit} characters`);
    if (value.includes("\0")) throw invalid(`${at}: contains a NUL byte`);
    return value;
  };
}

export const text = bounded(MAX_TEXT);
export const longText = bounded(MAX_DOCUMENT);

/** A whole number that a double holds exactly. */
export const integer: Check<number> = (value, at) => {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    if (typeof value === "number") throw invalid(`invalid JSON: ${at}: ${value} is not an integer below 2^53`);
    throw mismatch(at, "an integer", value);
  }
  return value;
};

export function list<T>(entry: Check<T>): Check<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw mismatch(at, "an array", value);
    if (value.length > MAX_ENTRIES) throw invalid(`${at}: more than ${MAX_ENTRIES} entries`);
    return value.map((one, i) => entry(one, `${at}[${i}]`));
  };
}

/** A JSON object with free keys. */
export function map<T>(entry: Check<T>): Check<Record<string, T>> {
  return (value, at) => {
    const entries = Object.entries(record(value, at));
    if (entries.length > MAX_ENTRIES) throw invalid(`${at}: more than ${MAX_ENTRIES} entries`);
    // fromEntries defines own properties, also for the key "__proto__".
    return Object.fromEntries(entries.map(([key, one]) => [text(key, `a key of ${at}`), entry(one, `${at}.${key}`)]));
  };
}

/** What docker calls strslice: a list of strings, or one string that stands for a list of itself. */
export const stringOrList: Check<string[]> = (value, at) =>
  typeof value === "string" ? [text(value, at)] : list(text)(value, at);

export const emptyObject: Check<object> = (value, at) => {
  if (value !== null) record(value, at);
  return {};
};

/** Any JSON object, unlooked at; for what is kept but not used. */
export function record(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw mismatch(at, "an object", value);
  return value as Record<string, unknown>;
}

export type Shape<T> = { [K in keyof T]-?: Check<NonNullable<T[K]>> };

/** An object of known fields, each of which may be absent; `at` "" names the fields without a prefix. */
export function object<T extends object>(shape: Shape<T>): Check<Partial<T>> {
  const fields = Object.entries(shape) as [string, Check<unknown>][];
  return (value, at) => {
    const from = record(value, at || "the request body");
    const into: Record<string, unknown> = {};
    for (const [name, check] of fields) {
      if (!Object.hasOwn(from, name)) continue;
      const one = from[name];
      if (one !== null && one !== undefined) into[name] = check(one, at ? `${at}.${name}` : name);
    }
    return into as Partial<T>;
  };
}
