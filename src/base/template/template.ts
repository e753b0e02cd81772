import { nearest } from "../nearest.ts";
import { formatValue, NO_VALUE, truth, typeName } from "./format.ts";
import { functions } from "./functions.ts";
import { type Node, type Operand, type Pipeline, parse, type Template } from "./parse.ts";
import { TemplateError } from "./tokens.ts";

export { TemplateError } from "./tokens.ts";

const names = new Set(Object.keys(functions));

/** Fields that answer when they are asked for: a `ps` row, with `Label` taking an argument. */
export type Data = Record<string, unknown>;

/**
 * The value of a field that an object lacks, or has as null, where Go's struct behind the JSON has one; undefined where
 * it has none. `parent` is the name of the object's own field.
 */
export type Absent = (name: string, parent: string | undefined) => unknown;

/**
 * Compiles a Go template. The result prints one object with it; both throw TemplateError. Supported: fields, variables,
 * pipelines, parentheses, if/else, range, with, break, continue, define, template, block, comments, trim markers, and
 * `functions`.
 */
export function compileTemplate(template: string, absent: Absent = () => undefined): (data: unknown) => string {
  let parsed: Template;
  try {
    parsed = parse(template, names);
  } catch (error) {
    if (error instanceof TemplateError) throw new TemplateError(`template parsing error: ${error.message}`, true);
    throw error;
  }
  return (data) => new Execution(parsed, absent, data).run();
}

const MAX_DEPTH = 500;
/** How a node ends the range around it. */
type Leave = "break" | "continue" | undefined;
type Block = Extract<Node, { body: Node[] }>;

class Execution {
  #variables: Map<string, unknown>[];
  #out = "";
  #depth = 0;

  constructor(
    private readonly template: Template,
    private readonly absent: Absent,
    private readonly data: unknown,
  ) {
    this.#variables = [new Map([["", data]])];
  }

  run(): string {
    this.#nodes(this.template.nodes, this.data);
    return this.#out;
  }

  #nodes(nodes: readonly Node[], dot: unknown): Leave {
    for (const node of nodes) {
      if (node.kind === "text") this.#out += node.text;
      else if (node.kind === "output") {
        const value = this.#pipeline(node.pipeline, dot);
        if (node.pipeline.variables.length === 0) this.#out += this.#printed(node.pipeline, value);
      } else if (node.kind === "break" || node.kind === "continue") return node.kind;
      else if (node.kind === "template") this.#use(node, dot);
      else {
        const leave = this.#scoped(() => this.#block(node, dot));
        if (leave) return leave;
      }
    }
    return undefined;
  }

  #scoped(run: () => Leave): Leave {
    this.#variables.push(new Map());
    const leave = run();
    this.#variables.pop();
    return leave;
  }

  /** A named template sees its argument alone. */
  #use({ name, pipeline }: Extract<Node, { kind: "template" }>, dot: unknown): void {
    const nodes = this.template.named.get(name);
    if (!nodes) throw new TemplateError(`template: template ${JSON.stringify(name)} not defined`);
    if (++this.#depth > MAX_DEPTH) throw new TemplateError("template: exceeded maximum template depth");
    const value = pipeline ? this.#pipeline(pipeline, dot) : null;
    const outer = this.#variables;
    this.#variables = [new Map([["", value]])];
    this.#nodes(nodes, value);
    this.#variables = outer;
    this.#depth--;
  }

  /** A null that Go has as an empty list or map prints as one. */
  #printed(pipeline: Pipeline, value: unknown): string {
    const only =
      pipeline.commands.length === 1 && pipeline.commands[0]!.length === 1 ? pipeline.commands[0]![0] : undefined;
    if (value !== null || only?.kind !== "path" || only.fields.length === 0) return formatValue(value);
    return formatValue(this.absent(only.fields.at(-1)!, only.fields.at(-2)) ?? null);
  }

  #block(node: Block, dot: unknown): Leave {
    if (node.kind !== "range") {
      const value = this.#pipeline(node.pipeline, dot);
      if (truth(value)) return this.#nodes(node.body, node.kind === "with" ? value : dot);
      return this.#nodes(node.otherwise, dot);
    }
    const value = this.#pipeline({ ...node.pipeline, variables: [] }, dot);
    const entries = rangeEntries(value, node.pipeline.source);
    if (entries.length === 0) return this.#nodes(node.otherwise, dot);
    const { variables } = node.pipeline;
    for (const [key, item] of entries) {
      const leave = this.#scoped(() => {
        const scope = this.#variables.at(-1)!;
        if (variables.length === 1) scope.set(variables[0]!, item);
        if (variables.length === 2) scope.set(variables[0]!, key).set(variables[1]!, item);
        return this.#nodes(node.body, item);
      });
      if (leave === "break") break;
    }
    return undefined;
  }

  #pipeline(pipeline: Pipeline, dot: unknown): unknown {
    let value: unknown;
    pipeline.commands.forEach((command, i) => {
      value = this.#command(command, dot, i === 0 ? [] : [value], pipeline.source);
    });
    for (const name of pipeline.variables) {
      const scope = pipeline.assign ? this.#variables.findLast((one) => one.has(name)) : this.#variables.at(-1);
      if (!scope) throw new TemplateError(`undefined variable $${name}`);
      scope.set(name, value);
    }
    return value;
  }

  #command(command: Operand[], dot: unknown, piped: unknown[], source: string): unknown {
    const [first, ...rest] = command as [Operand, ...Operand[]];
    const args = () => [...rest.map((operand) => this.#operand(operand, dot, source)), ...piped];
    if (first.kind === "function") {
      try {
        return functions[first.name]!(...args());
      } catch (error) {
        throw new TemplateError(
          `template: executing at <${source}>: error calling ${first.name}: ${(error as Error).message}`,
        );
      }
    }
    const value = this.#operand(first, dot, source);
    if (typeof value === "function") return (value as (...args: unknown[]) => unknown)(...args());
    if (rest.length > 0 || piped.length > 0) {
      throw new TemplateError(`template: executing at <${source}>: can't give argument to non-function`);
    }
    return value;
  }

  #operand(operand: Operand, dot: unknown, source: string): unknown {
    if (operand.kind === "literal") return operand.value;
    if (operand.kind === "dot") return dot;
    if (operand.kind === "function") return functions[operand.name]!();
    let value =
      operand.base === "dot"
        ? dot
        : operand.base === "variable"
          ? this.#variable(operand.variable!)
          : this.#pipeline(operand.base, dot);
    operand.fields.forEach((name, i) => {
      value = field(value, name, source, () => this.absent(name, operand.fields[i - 1]));
    });
    return value;
  }

  #variable(name: string): unknown {
    const scope = this.#variables.findLast((one) => one.has(name));
    if (!scope) throw new TemplateError(`undefined variable "$${name}"`);
    return scope.get(name);
  }
}

function field(value: unknown, name: string, source: string, absent: () => unknown): unknown {
  const where = `template: executing at <${source}>: `;
  if (value === null || value === undefined || value === NO_VALUE) {
    throw new TemplateError(`${where}nil pointer evaluating .${name}`);
  }
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new TemplateError(`${where}can't evaluate field ${name} in type ${typeName(value)}`);
  }
  const map = value as Record<string, unknown>;
  if (Object.hasOwn(map, name)) return map[name];
  const known = Object.keys(map);
  const usual = absent();
  if (usual !== undefined) return usual;
  // Labels, options and other maps of strings may well lack a key; a misspelt field is a mistake.
  if (known.length === 0 || Object.values(map).every((one) => typeof one === "string" && !/^[A-Z]/.test(name))) {
    return NO_VALUE;
  }
  const near = nearest(name, known);
  throw new TemplateError(`${where}map has no entry for key "${name}"${near ? ` (did you mean .${near}?)` : ""}`);
}

function rangeEntries(value: unknown, source: string): [unknown, unknown][] {
  if (value === null || value === undefined || value === NO_VALUE) return [];
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value === "object") {
    return Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }
  if (typeof value === "number") return Array.from({ length: Math.min(value, 1e6) }, (_, i) => [i, i]);
  throw new TemplateError(`template: executing at <${source}>: range can't iterate over ${formatValue(value)}`);
}
