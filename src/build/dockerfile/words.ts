import { SyntaxFault } from "./error.ts";

const BLANKS = /[\t\v\f\r ]+/;

/** Words between blanks. */
export function blankSeparated(text: string): string[] {
  return text === "" ? [] : text.split(BLANKS);
}

/** `text` before and after its first blanks. */
export function cutAtBlank(text: string): [string, string | undefined] {
  const blank = BLANKS.exec(text);
  return blank ? [text.slice(0, blank.index), text.slice(blank.index + blank[0].length)] : [text, undefined];
}

/** Words between blanks that are neither quoted nor escaped. Quotes and escapes stay: expansion removes them. */
export function quotedWords(text: string, token: string): string[] {
  const words: string[] = [];
  let start = -1;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote === "" && /\s/.test(char)) {
      if (start >= 0) words.push(text.slice(start, at));
      start = -1;
      continue;
    }
    if (start < 0) start = at;
    if (char === token && quote !== "'") {
      // An escape character that ends the text stands for nothing.
      if (at + 1 === text.length) text = text.slice(0, at);
      at++;
    } else if (quote !== "") {
      if (char === quote) quote = "";
    } else if (char === "'" || char === '"') quote = char;
  }
  if (start >= 0 && start < text.length) words.push(text.slice(start));
  return words;
}

/** The strings of a JSON array; undefined when it is none. Errors: SyntaxFault, for an array of anything else. */
export function jsonStrings(text: string): string[] | undefined {
  const array = text.trimStart();
  if (!array.startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(array);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((item) => typeof item === "string")) {
    throw new SyntaxFault("when using JSON array syntax, arrays must be comprised of strings only", array);
  }
  return value;
}

/** `--flags` at the start of an instruction's arguments, quotes and escapes removed, and what is behind them. */
export function cutFlags(text: string): { flags: string[]; rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && /\s/.test(text[at]!)) at++;
    if (!text.startsWith("--", at)) return { flags, rest: text.slice(at).trim() };
    const parts: string[] = [];
    let quote = "";
    for (; at < text.length && (quote !== "" || !/\s/.test(text[at]!)); at++) {
      const char = text[at]!;
      if (char === "\\") {
        if (++at < text.length) parts.push(text[at]!);
      } else if (quote !== "" ? char === quote : char === "'" || char === '"') quote = quote === "" ? char : "";
      else parts.push(char);
    }
    const flag = parts.join("");
    if (flag === "--") return { flags, rest: text.slice(at).trim() };
    flags.push(flag);
  }
}
