import { invalid } from "../base/errors.ts";

/** D-Bus specification, "Type System": the basic types, and how their values are aligned. */
export const ALIGNMENT: Readonly<Record<string, number>> = {
  ...{ y: 1, n: 2, q: 2, b: 4, i: 4, u: 4, x: 8, t: 8, d: 8, s: 4, o: 4, g: 1 },
  ...{ a: 4, "(": 8, "{": 8, v: 1 },
};

const BASIC = new Set("ynqbiuxtdsog");
const MAX_DEPTH = 32;

/**
 * A single complete type: `code` is its first letter; an array has its element's type in `inner`, a struct and a
 * dictionary entry (`{`) those of their fields.
 */
export interface Type {
  code: string;
  inner: Type[];
}

/** The complete types of a signature; one that is none is an invalid-argument error. */
export function parseSignature(signature: string): Type[] {
  const wrong = () => invalid(`D-Bus signature ${JSON.stringify(signature.slice(0, 100))} is malformed`);
  if (signature.length > 255) throw wrong();
  let at = 0;
  const one = (depth: number, inArray: boolean): Type => {
    const code = signature[at++];
    if (code === undefined || depth > MAX_DEPTH) throw wrong();
    if (code === "v" || BASIC.has(code)) return { code, inner: [] };
    if (code === "a") return { code, inner: [one(depth + 1, true)] };
    if (code !== "(" && !(code === "{" && inArray)) throw wrong();
    const inner: Type[] = [];
    const end = code === "(" ? ")" : "}";
    while (signature[at] !== end) inner.push(one(depth + 1, false));
    at++;
    if (inner.length === 0 || (code === "{" && (inner.length !== 2 || !BASIC.has(inner[0]!.code)))) throw wrong();
    return { code, inner };
  };
  const types: Type[] = [];
  while (at < signature.length) types.push(one(0, false));
  return types;
}

/** The signature of a type again. */
export function signatureOf({ code, inner }: Type): string {
  const text = inner.map(signatureOf).join("");
  return code === "(" ? `(${text})` : code === "{" ? `{${text}}` : code + text;
}
