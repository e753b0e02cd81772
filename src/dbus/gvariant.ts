import { invalid } from "../base/errors.ts";
import type { Value, Variant } from "./marshal.ts";

/** Type names that may stand before a value. */
const TYPES: Readonly<Record<string, string>> = {
  ...{ boolean: "b", byte: "y", int16: "n", uint16: "q", int32: "i", uint32: "u", int64: "x", uint64: "t" },
  ...{ double: "d", string: "s", objectpath: "o", signature: "g" },
};

/**
 * The values of GVariant's text format that unit properties have: numbers, booleans, strings and arrays of them, with a
 * type before or `@type`: `uint64 5`, `'text'`, `true`, `@as []`, `['a', 'b']`. An untyped whole number is an int32.
 */
export function parseGvariant(text: string): Variant {
  const wrong = () => invalid(`${JSON.stringify(text.slice(0, 100))} is no value in GVariant's text format`);
  const token =
    /\s*(@[a-z]+|[A-Za-z][A-Za-z0-9]*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?[0-9][0-9A-Za-z.+-]*|[[\],])/y;
  const tokens: string[] = [];
  let at = 0;
  while (text.slice(at).trim() !== "") {
    token.lastIndex = at;
    const match = token.exec(text);
    if (!match || tokens.length > 4096) throw wrong();
    tokens.push(match[1]!);
    at = token.lastIndex;
  }
  let next = 0;
  const one = (given: string | undefined): Variant => {
    const word = tokens[next++];
    if (word === undefined) throw wrong();
    if (word.startsWith("@")) return one(word.slice(1));
    if (Object.hasOwn(TYPES, word)) return one(TYPES[word]);
    if (word === "[") {
      const items: Variant[] = [];
      const inner = given?.startsWith("a") ? given.slice(1) : undefined;
      while (tokens[next] !== "]") {
        if (items.length > 0 && tokens[next++] !== ",") throw wrong();
        items.push(one(inner ?? items[0]?.signature));
      }
      next++;
      const element = inner ?? items[0]?.signature;
      if (element === undefined || items.some(({ signature }) => signature !== element)) throw wrong();
      return { signature: `a${element}`, value: items.map(({ value }) => value) };
    }
    return scalar(word, given, wrong);
  };
  const value = one(undefined);
  if (next !== tokens.length) throw wrong();
  return value;
}

function scalar(word: string, given: string | undefined, wrong: () => Error): Variant {
  const typed = (signature: string, value: Value): Variant => {
    const fits = given === undefined || given === signature || (signature === "s" && (given === "o" || given === "g"));
    if (!fits) throw wrong();
    return { signature: given ?? signature, value };
  };
  if (word === "true" || word === "false") return typed("b", word === "true");
  if (/^['"]/.test(word)) return typed("s", unquote(word.slice(1, -1)));
  if (given === "d" || (given === undefined && /^[-+]?\d+(\.\d*)?([eE][-+]?\d+)?$/.test(word) && /[.eE]/.test(word))) {
    if (Number.isNaN(Number(word))) throw wrong();
    return { signature: "d", value: Number(word) };
  }
  const match = /^([-+]?)(0[xX][0-9A-Fa-f]+|\d+)$/.exec(word);
  if (!match) throw wrong();
  const digits = /^0[0-7]+$/.test(match[2]!) ? `0o${match[2]!.slice(1)}` : match[2]!;
  const number = match[1] === "-" ? -BigInt(digits) : BigInt(digits);
  const signature = given ?? "i";
  if (!"ynqiuxt".includes(signature)) throw wrong();
  return { signature, value: signature === "x" || signature === "t" ? number : Number(number) };
}

function unquote(text: string): string {
  const named: Record<string, string> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };
  return text.replace(/\\(u[0-9A-Fa-f]{4}|.)/g, (_, code: string) =>
    code.length === 5 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (named[code] ?? code),
  );
}
