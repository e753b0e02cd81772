import { quoted, SyntaxFault } from "./error.ts";
import { BadPattern, codes, Glob } from "./glob.ts";

/** The value of a variable; undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

export interface ExpandOptions {
  /** Quotes stay in the result. */
  readonly rawQuotes?: boolean;
  /** Escape characters stay in the result. */
  readonly rawEscapes?: boolean;
  /** Quotes are ordinary characters: bodies of heredocs. */
  readonly plainQuotes?: boolean;
  /** What is not set stays as written. */
  readonly keepUnset?: boolean;
}

/** No word grows longer: `ENV a=$a$a` forty times would be a terabyte. */
const LONGEST = 1 << 20;
const DEEPEST = 100;
const SPECIAL = "@*#?-$!0";

/**
 * Quotes, escapes and variables of Dockerfile words, as BuildKit's shell package reads them: `$v` `${v}` and the forms
 * `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`. Errors: SyntaxFault (invalid).
 */
export class Expander {
  /** Names that were asked for, over the life of this object: set ones and unset ones. */
  readonly matched = new Set<string>();
  readonly unmatched = new Set<string>();

  constructor(
    readonly token: "\\" | "`" = "\\",
    private readonly options: ExpandOptions = {},
  ) {}

  /** The one word that `text` means. */
  word(text: string, env: Lookup): string {
    return new Scan(text, this, env, this.options).run().text;
  }

  /** The words of `text`: split at blanks that are not quoted, after variables are replaced. */
  words(text: string, env: Lookup): string[] {
    return new Scan(text, this, env, this.options).run().words;
  }
}

/** The words of a text while it grows. */
class Words {
  readonly list: string[] = [];
  private parts: string[] = [];
  push(text: string): void {
    if (text !== "") this.parts.push(text);
  }
  split(text: string): void {
    for (const part of text.split(/([\s\u0085]+)/)) {
      if (part === "") continue;
      if (/^[\s\u0085]/.test(part)) this.end();
      else this.parts.push(part);
    }
  }
  end(): void {
    if (this.parts.length > 0) this.list.push(this.parts.join(""));
    this.parts = [];
  }
}

class Scan {
  private at = 0;
  private depth = 0;
  private rawEscapes: boolean;

  constructor(
    private readonly text: string,
    private readonly owner: Expander,
    private readonly env: Lookup,
    private readonly options: ExpandOptions,
  ) {
    this.rawEscapes = options.rawEscapes ?? false;
  }

  run(): { text: string; words: string[] } {
    try {
      return this.until(undefined, this.rawEscapes);
    } catch (error) {
      if (!(error instanceof SyntaxFault)) throw error;
      throw new SyntaxFault(`failed to process ${quoted(this.text)}: ${error.message}`, this.text, error.hint);
    }
  }

  private until(stop: string | undefined, raw: boolean): { text: string; words: string[] } {
    const { token } = this.owner;
    const before = this.rawEscapes;
    this.rawEscapes = raw;
    const words = new Words();
    const out: string[] = [];
    let size = 0;
    const put = (text: string) => {
      size += text.length;
      if (size > LONGEST) throw new SyntaxFault(`the result is longer than ${LONGEST} characters`);
      out.push(text);
    };
    if (++this.depth > DEEPEST) throw new SyntaxFault(`more than ${DEEPEST} substitutions inside each other`);
    let closed = stop === undefined;
    while (this.at < this.text.length) {
      const char = this.text[this.at]!;
      if (char === stop) {
        this.at++;
        closed = true;
        break;
      }
      if (char === "$") {
        const value = this.dollar();
        put(value);
        words.split(value);
      } else if ((char === "'" || char === '"') && !this.options.plainQuotes) {
        const value = char === "'" ? this.single() : this.double();
        put(value);
        words.push(value);
      } else if (char === token) {
        this.at++;
        if (this.rawEscapes) {
          put(char);
          words.push(char);
        }
        if (this.at === this.text.length) break;
        const next = String.fromCodePoint(this.text.codePointAt(this.at)!);
        this.at += next.length;
        put(next);
        words.push(next);
      } else {
        const start = this.at++;
        while (this.at < this.text.length && !this.special(this.text[this.at]!, stop)) this.at++;
        const plain = this.text.slice(start, this.at);
        put(plain);
        words.split(plain);
      }
    }
    if (!closed) throw new SyntaxFault(`unexpected end of statement while looking for matching ${stop}`);
    words.end();
    this.depth--;
    this.rawEscapes = before;
    return { text: out.join(""), words: words.list };
  }

  private special(char: string, stop: string | undefined): boolean {
    return char === "$" || char === "'" || char === '"' || char === this.owner.token || char === stop;
  }

  private single(): string {
    const end = this.text.indexOf("'", this.at + 1);
    if (end < 0) throw new SyntaxFault("unexpected end of statement while looking for matching single-quote");
    const inside = this.text.slice(this.at + 1, end);
    this.at = end + 1;
    return this.options.rawQuotes ? `'${inside}'` : inside;
  }

  private double(): string {
    const quote = this.options.rawQuotes ? '"' : "";
    const out = [quote];
    let size = 0;
    const put = (text: string) => {
      size += text.length;
      if (size > LONGEST) throw new SyntaxFault(`the result is longer than ${LONGEST} characters`);
      out.push(text);
    };
    for (this.at++; this.at < this.text.length; ) {
      const char = this.text[this.at]!;
      if (char === '"') {
        this.at++;
        out.push(quote);
        return out.join("");
      }
      if (char === "$") {
        put(this.dollar());
        continue;
      }
      this.at++;
      if (char !== this.owner.token) {
        put(char);
        continue;
      }
      if (this.rawEscapes) put(char);
      const next = this.text[this.at];
      if (next === undefined) break;
      if (next === '"' || next === "$" || next === this.owner.token) {
        this.at++;
        put(next);
      } else put(char);
    }
    throw new SyntaxFault("unexpected end of statement while looking for matching double-quote");
  }

  private dollar(): string {
    this.at++;
    if (this.text[this.at] !== "{") {
      const name = this.name();
      if (name === "") return "$";
      return this.value(name) ?? (this.options.keepUnset ? `$${name}` : "");
    }
    this.at++;
    const first = this.text[this.at];
    if (first === undefined) throw new SyntaxFault("syntax error: missing '}'");
    if (first === "{" || first === "}" || first === ":") throw new SyntaxFault("syntax error: bad substitution");
    const name = this.name();
    let form = this.text[this.at++] ?? "";
    if (form === "}") return this.value(name) ?? (this.options.keepUnset ? `\${${name}}` : "");
    if (form === "/") return this.replace(name);
    if (form === ":") form += this.text[this.at++] ?? "";
    const modifier = form.at(-1) ?? "";
    if (form === "") throw new SyntaxFault("syntax error: missing '}'");
    if (!"+-?#%".includes(modifier) || form === ":#" || form === ":%") {
      throw new SyntaxFault(`unsupported modifier (${form}) in substitution`);
    }
    const word = this.closing("}", modifier === "#" || modifier === "%", "}");
    const value = this.value(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}${form}${word}}`;
    const empty = value === undefined || (form.startsWith(":") && value === "");
    if (modifier === "-") return empty ? word : value!;
    if (modifier === "+") return empty ? "" : word;
    if (modifier === "?") {
      if (!empty) return value!;
      throw new SyntaxFault(`${name}: ${word || `is not allowed to be ${value === undefined ? "unset" : "empty"}`}`);
    }
    const greedy = word.startsWith(modifier);
    return trim(value ?? "", greedy ? word.slice(1) : word, modifier === "%", greedy ? "longest" : "shortest");
  }

  /** `${v/p/r}` and `${v//p/r}`, after the first slash. */
  private replace(name: string): string {
    const all = this.text[this.at] === "/";
    if (all) this.at++;
    const pattern = this.closing("/", true, "/");
    const replacement = this.closing("}", true, "}");
    const value = this.value(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}/${all ? "/" : ""}${pattern}/${replacement}}`;
    return substitute(value ?? "", pattern, replacement, all);
  }

  private closing(stop: string, raw: boolean, missing: string): string {
    try {
      return this.until(stop, raw).text;
    } catch (error) {
      if (error instanceof SyntaxFault && this.at >= this.text.length && error.message.endsWith(`matching ${stop}`)) {
        throw new SyntaxFault(`syntax error: missing '${missing}'${missing === "/" ? " in $" + "{}" : ""}`);
      }
      throw error;
    }
  }

  /** Letters, digits and `_`; a name that starts with a digit is digits only; or one special parameter. */
  private name(): string {
    const first = this.text[this.at];
    if (first === undefined) return "";
    const rule = /\d/.test(first) ? /\d+/y : /[\p{L}_][\p{L}\p{Nd}_]*/uy;
    rule.lastIndex = this.at;
    let name = rule.exec(this.text)?.[0] ?? "";
    if (name === "" && SPECIAL.includes(first)) name = first;
    this.at += name.length;
    return name;
  }

  private value(name: string): string | undefined {
    const value = this.env(name);
    (value === undefined ? this.owner.unmatched : this.owner.matched).add(name);
    return value;
  }
}

const string = (points: readonly number[]) => {
  const parts: string[] = [];
  for (let at = 0; at < points.length; at += 4096) parts.push(String.fromCodePoint(...points.slice(at, at + 4096)));
  return parts.join("");
};

function compiled(pattern: string, reversed = false): Glob {
  try {
    return Glob.shell(pattern, reversed);
  } catch (error) {
    if (error instanceof BadPattern)
      throw new SyntaxFault(`invalid pattern (${pattern.slice(0, 120)}) in substitution`);
    throw error;
  }
}

function bounded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof BadPattern) throw new SyntaxFault(error.message);
    throw error;
  }
}

function trim(value: string, pattern: string, suffix: boolean, want: "shortest" | "longest"): string {
  const glob = compiled(pattern, suffix);
  const points = suffix ? codes(value).reverse() : codes(value);
  const end = bounded(() => glob.ends(points, 0, want));
  if (end === undefined) return value;
  const rest = points.slice(end);
  return string(suffix ? rest.reverse() : rest);
}

function substitute(value: string, pattern: string, replacement: string, all: boolean): string {
  const glob = compiled(pattern);
  const points = codes(value);
  const out: string[] = [];
  let copied = 0;
  let last = -1;
  for (let at = 0; at <= points.length; ) {
    const from = at;
    const end = bounded(() => glob.ends(points, from, "longest"));
    if (end === undefined || (end === at && at === last)) {
      at++;
      continue;
    }
    out.push(string(points.slice(copied, at)), replacement);
    copied = end;
    last = end;
    if (!all) break;
    at = end === at ? at + 1 : end;
  }
  out.push(string(points.slice(copied)));
  const result = out.join("");
  if (result.length > LONGEST) throw new SyntaxFault(`the result is longer than ${LONGEST} characters`);
  return result;
}
