/** A wrong template; the message says what and where. */
export class TemplateError extends Error {
  override name = "TemplateError";

  constructor(
    message: string,
    /** It is no template; otherwise the object does not have what it asks for. */
    readonly parsing = false,
  ) {
    super(message);
  }
}

export type Token =
  | { kind: "field"; name: string }
  | { kind: "variable"; name: string }
  | { kind: "word"; name: string }
  | { kind: "literal"; value: string | number }
  | { kind: "symbol"; text: "(" | ")" | "|" | "," | ":=" | "=" | "." };

/** Text between actions, or one action's tokens. `spaced` tells `(x).A` from `(x) .A`. */
export type Piece = { text: string } | { tokens: (Token & { spaced: boolean })[] };

/** Cuts a template into text and actions (Go text/template, "Text and spaces", "Actions"). */
export function tokenize(template: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = template.indexOf("{{", at);
    let text = template.slice(at, open < 0 ? undefined : open);
    if (trimNext) text = text.trimStart();
    if (open < 0) {
      if (text) pieces.push({ text });
      return pieces;
    }
    let start = open + 2;
    if (/^-\s/.test(template.slice(start, start + 2))) {
      text = text.trimEnd();
      start += 1;
    }
    if (text) pieces.push({ text });
    const close = actionEnd(template, start);
    let body = template.slice(start, close);
    trimNext = /\s-$/.test(body);
    if (trimNext) body = body.slice(0, -1);
    if (!/^\s*\/\*[\s\S]*\*\/\s*$/.test(body)) pieces.push({ tokens: tokenizeAction(body) });
    at = close + 2;
  }
}

/** Index of the `}}` that ends the action; quotes and comments may contain braces. */
function actionEnd(template: string, start: number): number {
  for (let at = start; at < template.length; at++) {
    const rest = template.slice(at, at + 2);
    if (rest === "}}") return at;
    if (rest === "/*") {
      const end = template.indexOf("*/", at + 2);
      if (end < 0) throw new TemplateError("unclosed comment");
      at = end + 1;
    } else if (template[at] === '"' || template[at] === "`") at = stringEnd(template, at);
  }
  throw new TemplateError("unclosed action");
}

function stringEnd(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at++) {
    if (quote === '"' && text[at] === "\\") at++;
    else if (text[at] === quote) return at;
  }
  throw new TemplateError(quote === '"' ? "unterminated quoted string" : "unterminated raw quoted string");
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };

function unquote(text: string): string {
  if (text[0] === "`") return text.slice(1, -1);
  return text
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\s\S]))/g, (_, x?: string, u?: string, one?: string) => {
      const code = x ?? u;
      if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
      return ESCAPES[one!] ?? one!;
    });
}

const PATTERNS: readonly [RegExp, (match: RegExpExecArray) => Token][] = [
  [/^\.([\p{L}_][\p{L}\p{N}_]*)/u, (match) => ({ kind: "field", name: match[1]! })],
  [/^\$([\p{L}\p{N}_]*)/u, (match) => ({ kind: "variable", name: match[1]! })],
  [/^[+-]?(0x[\da-fA-F]+|\d+\.?\d*([eE][+-]?\d+)?)/, (match) => ({ kind: "literal", value: Number(match[0]) })],
  [/^[\p{L}_][\p{L}\p{N}_]*/u, (match) => ({ kind: "word", name: match[0] })],
  [/^(:=|[()|,=.])/, (match) => ({ kind: "symbol", text: match[0] as "(" })],
];

function tokenizeAction(body: string): (Token & { spaced: boolean })[] {
  const tokens: (Token & { spaced: boolean })[] = [];
  let at = 0;
  while (at < body.length) {
    const before = at;
    while (/\s/.test(body[at] ?? "")) at++;
    if (at >= body.length) break;
    const spaced = at > before || at === 0;
    const rest = body.slice(at);
    const add = (token: Token, length: number) => {
      tokens.push({ ...token, spaced });
      at += length;
    };
    if (rest[0] === '"' || rest[0] === "`") {
      const end = stringEnd(body, at);
      add({ kind: "literal", value: unquote(body.slice(at, end + 1)) }, end + 1 - at);
      continue;
    }
    const found = PATTERNS.map(([pattern, make]) => [pattern.exec(rest), make] as const).find(([match]) => match);
    if (!found) throw new TemplateError(`unexpected ${JSON.stringify(rest[0])} in {{${body.trim()}}}`);
    add(found[1](found[0]!), found[0]![0].length);
  }
  return tokens;
}
