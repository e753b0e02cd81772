import type { CheckOptions, Directives } from "./ast.ts";
import { quoted, SyntaxFault } from "./error.ts";

const DIRECTIVE = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S(?:.*\S)?)\s*$/;

/** Reads `# key=value` comments from the top of a Dockerfile until the first line that is none. */
export class DirectiveReader {
  private open = true;
  private readonly seen = new Map<string, string>();

  /** Whether the line, without its leading blanks, is a directive. Errors: SyntaxFault, for a directive given twice or a wrong escape. */
  line(text: string): boolean {
    if (!this.open) return false;
    // A line that long is no directive; and the expression goes over its blanks more than once.
    const [, word, value] = (text.length < 4096 && DIRECTIVE.exec(text)) || [];
    const key = word?.toLowerCase() ?? "";
    if (value === undefined || !["escape", "syntax", "check"].includes(key)) {
      this.open = false;
      return false;
    }
    if (this.seen.has(key)) throw new SyntaxFault(`only one ${key} parser directive can be used`, word);
    this.seen.set(key, value);
    if (key === "escape" && value !== "\\" && value !== "`") {
      throw new SyntaxFault(`invalid escape token '${value.slice(0, 20)}' does not match \` or \\`, value);
    }
    if (key === "check") parseCheck(value);
    return true;
  }

  /** No more directives: the text is one instruction, not a file. */
  close(): this {
    this.open = false;
    return this;
  }

  get escape(): "\\" | "`" {
    return this.seen.get("escape") === "`" ? "`" : "\\";
  }

  get directives(): Directives {
    const syntax = this.seen.get("syntax");
    const check = this.seen.get("check");
    return {
      escape: this.escape,
      ...(syntax === undefined ? {} : { syntax }),
      ...(check === undefined ? {} : { check: parseCheck(check) }),
    };
  }
}

/** `skip=A,B;error=true`: the check directive, and the build argument BUILDKIT_DOCKERFILE_CHECK. Errors: SyntaxFault. */
export function parseCheck(text: string): CheckOptions {
  let skip: string[] = [];
  let experimental: string[] = [];
  let error = false;
  for (const part of text.split(";")) {
    const at = part.indexOf("=");
    const key = part.slice(0, Math.max(at, 0)).trim();
    const value = part.slice(at + 1).trim();
    const list = value.split(",").map((rule) => rule.trim());
    if (at < 0) throw new SyntaxFault(`invalid check option ${quoted(part)}`, part);
    if (key === "skip") skip = list;
    else if (key === "experimental") experimental = list;
    else if (key === "error") {
      if (!/^(true|false|1|0|t|f)$/i.test(value)) throw new SyntaxFault(`invalid check option ${quoted(part)}`, part);
      error = /^(true|1|t)$/i.test(value);
    } else throw new SyntaxFault(`invalid check option ${quoted(key)}`, key);
  }
  return {
    skip: skip.filter((rule) => rule !== "all"),
    skipAll: skip.includes("all"),
    error,
    experimental: experimental.filter((rule) => rule !== "all"),
    experimentalAll: experimental.includes("all"),
  };
}
