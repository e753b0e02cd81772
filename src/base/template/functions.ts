import { compare, formatValue, NO_VALUE, sprintf, truth, typeName, WIDEST } from "./format.ts";
import { TemplateError } from "./tokens.ts";

type Function = (...args: unknown[]) => unknown;

const text = (value: unknown, name: string): string => {
  if (typeof value !== "string") throw new TemplateError(`wrong type for ${name}: want string, got ${typeName(value)}`);
  return value;
};
const whole = (value: unknown, name: string): number => {
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new TemplateError(`wrong type for ${name}: want int, got ${typeName(value)}`);
  }
  return value;
};

/** Go joins operands with spaces where neither side is a string. */
function print(...args: unknown[]): string {
  let out = "";
  args.forEach((value, i) => {
    if (i > 0 && typeof value !== "string" && typeof args[i - 1] !== "string") out += " ";
    out += formatValue(value);
  });
  return out;
}

function index(value: unknown, ...keys: unknown[]): unknown {
  let current = value;
  for (const key of keys) {
    if (Array.isArray(current) || typeof current === "string") {
      const at = whole(key, "index");
      if (at < 0 || at >= current.length) throw new TemplateError(`index out of range: ${at}`);
      current = current[at];
    } else if (current !== null && typeof current === "object") {
      // A missing key of a map is the zero value, which for docker's string maps is "".
      current = Object.hasOwn(current, String(key)) ? (current as Record<string, unknown>)[String(key)] : "";
    } else if (current === null && typeof key === "number") throw new TemplateError(`index out of range: ${key}`);
    else if (current === null) current = "";
    else throw new TemplateError(`cannot index a value of type ${typeName(current)}`);
  }
  return current;
}

function length(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (value === null) return 0;
  if (Array.isArray(value)) return value.length;
  if (value !== null && typeof value === "object") return Object.keys(value).length;
  throw new TemplateError(`len of type ${typeName(value)}`);
}

/** What an object says itself for `json`, as Go's MarshalJSON. */
export const MARSHAL = Symbol("marshal");

/** JSON with Go's escapes of <, > and & undone, as docker's `json` does; keys keep the API's order. */
export function toJson(value: unknown): string {
  const own = (value as { [MARSHAL]?: () => string } | null | undefined)?.[MARSHAL];
  if (own) return own();
  return JSON.stringify(value === NO_VALUE ? null : value) ?? "null";
}

const HTML: Record<string, string> = {
  ...{ '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd" },
};

function script(value: string): string {
  return value.replace(/[\\'"<>&=\x00-\x1f]/g, (one) => {
    if (/[\\'"]/.test(one)) return `\\${one}`;
    return `\\u${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  });
}

/** application/x-www-form-urlencoded, as Go escapes it. */
function query(value: string): string {
  const escaped = (one: string) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(value.toWellFormed())
    .replaceAll("%20", "+")
    .replace(/[!'()*]/g, escaped);
}

/** The functions of docker's --format: those of Go's text/template and docker's own. */
export const functions: Readonly<Record<string, Function>> = {
  json: toJson,
  split: (value, separator) => text(value, "split").split(text(separator, "split")),
  join: (list, separator) => (list as unknown[]).map(formatValue).join(text(separator, "join")),
  title: (value) => text(value, "title").replace(/(^|[^\p{L}\p{N}_'])(\p{L})/gu, (_, a, b) => a + b.toUpperCase()),
  lower: (value) => text(value, "lower").toLowerCase(),
  upper: (value) => text(value, "upper").toUpperCase(),
  pad: (value, before, after) => {
    const source = text(value, "pad");
    const blanks = (count: unknown) => " ".repeat(Math.min(Math.max(0, whole(count, "pad")), WIDEST));
    return source === "" ? "" : blanks(before) + source + blanks(after);
  },
  truncate: (value, size) => [...text(value, "truncate")].slice(0, whole(size, "truncate")).join(""),
  println: (...args) => `${args.map(formatValue).join(" ")}\n`,
  print,
  printf: (format, ...args) => sprintf(text(format, "printf"), args),
  html: (...args) => print(...args).replace(/["'&<>\0]/g, (one) => HTML[one]!),
  js: (...args) => script(print(...args)),
  urlquery: (...args) => query(print(...args)),
  len: length,
  index,
  slice: (value, from, to) => (value as string | unknown[]).slice(whole(from ?? 0, "slice"), to as number | undefined),
  eq: (first, ...others) => others.some((other) => other === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  not: (value) => !truth(value),
  and: (...args) => args.find((value) => !truth(value)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
};
