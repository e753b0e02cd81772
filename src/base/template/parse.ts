import { type Piece, TemplateError, type Token, tokenize } from "./tokens.ts";

/** What a template is made of. */
export type Node =
  | { kind: "text"; text: string }
  | { kind: "output"; pipeline: Pipeline }
  | { kind: "if" | "with"; pipeline: Pipeline; body: Node[]; otherwise: Node[] }
  | { kind: "range"; pipeline: Pipeline; body: Node[]; otherwise: Node[] }
  | { kind: "break" }
  | { kind: "continue" }
  | { kind: "template"; name: string; pipeline?: Pipeline };

/** A template and those that it defines by name. */
export interface Template {
  nodes: Node[];
  named: ReadonlyMap<string, Node[]>;
}

/** Commands joined by `|`; with names when it declares or sets variables. */
export interface Pipeline {
  variables: string[];
  assign: boolean;
  commands: Operand[][];
  /** For error texts. */
  source: string;
}

export type Operand =
  | { kind: "literal"; value: unknown }
  | { kind: "dot" }
  | { kind: "function"; name: string }
  | { kind: "path"; base: "dot" | "variable" | Pipeline; variable?: string; fields: string[] };

type Action = (Token & { spaced: boolean })[];

/** Parses a template (Go text/template); `functions` are the known names. */
export function parse(template: string, functions: ReadonlySet<string>): Template {
  return new Parser(tokenize(template), functions).document();
}

class Parser {
  #at = 0;
  #depth = 0;
  #ranges = 0;
  readonly #named = new Map<string, Node[]>();
  constructor(
    private readonly pieces: Piece[],
    private readonly functions: ReadonlySet<string>,
  ) {}

  document(): Template {
    const { nodes, end } = this.#nodes();
    if (end) throw new TemplateError(`unexpected {{${end.word}}}`);
    return { nodes, named: this.#named };
  }

  /** Nodes up to `end`, `else` or the end of the template. */
  #nodes(): { nodes: Node[]; end?: { word: "end" | "else"; rest: Action } } {
    const nodes: Node[] = [];
    while (this.#at < this.pieces.length) {
      const piece = this.pieces[this.#at++]!;
      if ("text" in piece) {
        nodes.push({ kind: "text", text: piece.text });
        continue;
      }
      const [first, ...rest] = piece.tokens;
      if (!first) throw new TemplateError("missing value for command");
      if (first.kind === "word" && (first.name === "end" || first.name === "else")) {
        return { nodes, end: { word: first.name, rest } };
      }
      const word = first.kind === "word" ? first.name : "";
      if (word === "if" || word === "with" || word === "range") nodes.push(this.#block(word, rest));
      else if (word === "break" || word === "continue") {
        if (this.#ranges === 0) throw new TemplateError(`{{${word}}} outside {{range}}`);
        if (rest.length > 0) throw new TemplateError(`unexpected ${sourceOf(rest)} in {{${word}}}`);
        nodes.push({ kind: word });
      } else if (word === "define" || word === "block" || word === "template") nodes.push(...this.#use(word, rest));
      else nodes.push({ kind: "output", pipeline: this.#pipeline(piece.tokens) });
    }
    return { nodes };
  }

  /** `define "x"` has a body and prints nothing, `template "x" .Y` prints it, `block "x" .Y` does both. */
  #use(word: "define" | "block" | "template", [first, ...rest]: Action): Node[] {
    if (first?.kind !== "literal" || typeof first.value !== "string") {
      throw new TemplateError(`missing name in {{${word}}}`);
    }
    const name = first.value;
    if (word !== "template") {
      const ranges = this.#ranges;
      this.#ranges = 0;
      const { nodes, end } = this.#nodes();
      this.#ranges = ranges;
      if (end?.word !== "end") throw new TemplateError(`unexpected EOF: {{${word}}} without {{end}}`);
      this.#named.set(name, nodes);
    }
    if (word === "define") return [];
    return [{ kind: "template", name, ...(rest.length > 0 ? { pipeline: this.#pipeline(rest) } : {}) }];
  }

  #block(kind: "if" | "with" | "range", head: Action): Node {
    if (++this.#depth > 100) throw new TemplateError("blocks nested too deeply");
    const pipeline = this.#pipeline(head);
    if (kind === "range") this.#ranges++;
    const { nodes: body, end } = this.#nodes();
    if (kind === "range") this.#ranges--;
    if (!end) throw new TemplateError(`unexpected EOF: {{${kind}}} without {{end}}`);
    let otherwise: Node[] = [];
    if (end.word === "else") {
      const [next, ...rest] = end.rest;
      if (next?.kind === "word" && (next.name === "if" || next.name === "with")) {
        otherwise = [this.#block(next.name, rest)];
        this.#depth--;
        return { kind, pipeline, body, otherwise };
      }
      const tail = this.#nodes();
      if (tail.end?.word !== "end") throw new TemplateError(`unexpected EOF: {{${kind}}} without {{end}}`);
      otherwise = tail.nodes;
    }
    this.#depth--;
    return { kind, pipeline, body, otherwise };
  }

  #pipeline(tokens: Action): Pipeline {
    const variables: string[] = [];
    let at = 0;
    let assign = false;
    const operator = tokens.findIndex(
      (token) => token.kind === "symbol" && (token.text === ":=" || token.text === "="),
    );
    if (operator > 0) {
      for (const token of tokens.slice(0, operator)) {
        if (token.kind === "variable") variables.push(token.name);
        else if (!(token.kind === "symbol" && token.text === ",")) throw new TemplateError("bad variable declaration");
      }
      assign = (tokens[operator] as { text: string }).text === "=";
      at = operator + 1;
    }
    const { commands, next } = this.#commands(tokens, at, false);
    if (next < tokens.length) throw new TemplateError("unexpected right paren");
    return { variables, assign, commands, source: sourceOf(tokens) };
  }

  #commands(tokens: Action, start: number, inParens: boolean): { commands: Operand[][]; next: number } {
    const commands: Operand[][] = [];
    let current: Operand[] = [];
    let at = start;
    const finish = () => {
      if (current.length === 0) throw new TemplateError("missing value for command");
      commands.push(current);
      current = [];
    };
    for (; at < tokens.length; at++) {
      const token = tokens[at]!;
      if (token.kind === "literal") current.push({ kind: "literal", value: token.value });
      else if (token.kind === "word") current.push(this.#word(token.name));
      else if (token.kind === "field") {
        const last = current.at(-1);
        if (!token.spaced && last?.kind === "path") last.fields.push(token.name);
        else current.push({ kind: "path", base: "dot", fields: [token.name] });
      } else if (token.kind === "variable") {
        current.push({ kind: "path", base: "variable", variable: token.name, fields: [] });
      } else if (token.text === ".") current.push({ kind: "dot" });
      else if (token.text === "|") finish();
      else if (token.text === "(") {
        const inner = this.#commands(tokens, at + 1, true);
        const source = sourceOf(tokens.slice(at, inner.next + 1));
        const base: Pipeline = { variables: [], assign: false, commands: inner.commands, source };
        current.push({ kind: "path", base, fields: [] });
        at = inner.next;
      } else if (token.text === ")") {
        if (!inParens) throw new TemplateError("unexpected right paren");
        finish();
        return { commands, next: at };
      } else throw new TemplateError(`unexpected ${JSON.stringify(token.text)} in operand`);
    }
    if (inParens) throw new TemplateError("unclosed left paren");
    finish();
    return { commands, next: at };
  }

  #word(name: string): Operand {
    if (name === "true" || name === "false") return { kind: "literal", value: name === "true" };
    if (name === "nil") return { kind: "literal", value: null };
    if (!this.functions.has(name)) throw new TemplateError(`function ${JSON.stringify(name)} not defined`);
    return { kind: "function", name };
  }
}

function sourceOf(tokens: Action): string {
  return tokens
    .map((token) => {
      const text =
        token.kind === "field"
          ? `.${token.name}`
          : token.kind === "variable"
            ? `$${token.name}`
            : token.kind === "word"
              ? token.name
              : token.kind === "literal"
                ? JSON.stringify(token.value)
                : token.text;
      return token.spaced ? ` ${text}` : text;
    })
    .join("")
    .trim();
}
