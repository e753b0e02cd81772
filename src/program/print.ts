import { type Param, type ParamKind, SIGNATURES } from "../linux/signatures.ts";
import { type CallRow, Data, Offset, type Operand, type Program, type Row, Slot } from "./ir.ts";
import { plain, quote, showArgument, showPlace, textOf } from "./values.ts";

/** Programs as text: for `inro explain`, and for the messages of errors. */

/** One row. All text is bounded, on one line and safe for a terminal; the object is plain data, ready for JSON. */
export interface Step {
  /** From 1, as the message of an error says it. */
  step: number;
  total: number;
  /** The system call, or `store`, `branch`, `exit`, `fail`. */
  call: string;
  /** `openat(AT_FDCWD, "/proc", O_PATH) = proc`; after it, which errors are ignored, and where the child goes on. */
  text: string;
  /** The option or property that asked for it. */
  why: string;
  /** The arguments of a call, as in `text`. */
  args: string[];
  /** The labels that jumps to this row name. */
  labels: string[];
}

/** All rows of `program`, decoded. */
export function describe(program: Program): Step[] {
  const labels = labelsOf(program);
  const stores = new Map<Data, Map<number, Slot>>();
  return program.rows.map((row, i) => {
    const args = row.kind === "call" ? row.args.map((_, n) => showArgument(row.call, row.args, n, stores)) : [];
    const step: Step = {
      step: i + 1,
      total: program.rows.length,
      call: row.kind === "call" ? row.call : row.kind,
      text: textOfRow(row, args),
      why: plain(row.why),
      args,
      labels: labels.get(i) ?? [],
    };
    if (row.kind === "store") {
      const [data, offset] = row.to instanceof Offset ? [row.to.data, row.to.offset] : [row.to, 0];
      const known = stores.get(data) ?? new Map<number, Slot>();
      stores.set(data, known.set(offset, row.from));
    }
    return step;
  });
}

function labelsOf(program: Program): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const row of program.rows) {
    const label = row.kind === "branch" ? row.to : row.kind === "call" ? row.child : undefined;
    if (!label) continue;
    const names = found.get(label.row) ?? [];
    const name = plain(label.name);
    if (!names.includes(name)) names.push(name);
    found.set(label.row, names);
  }
  return found;
}

function textOfRow(row: Row, args: readonly string[]): string {
  switch (row.kind) {
    case "call": {
      let text = `${row.call}(${args.join(", ")})`;
      if (row.into) text += ` = ${plain(row.into.name)}`;
      if (row.expect !== undefined) text += ` expect ${row.expect}`;
      if (row.ignore === "all") text += " ignore all errors";
      else if (row.ignore.length > 0) text += ` ignore ${row.ignore.join(", ")}`;
      if (row.child) text += ` child to ${plain(row.child.name)}`;
      return text;
    }
    case "store":
      return `store ${showPlace(row.from)} in ${showPlace(row.to)}`;
    case "branch": {
      const test = row.test === "equal" ? "==" : "<=";
      return `if ${showPlace(row.slot)} ${test} ${showPlace(row.than)} go to ${plain(row.to.name)}`;
    }
    case "exit":
      return `exit as ${showPlace(row.status)}`;
    case "fail":
      return `fail ${row.call} ${quote(row.object)}: ${row.errno}`;
  }
}

/**
 * The row (from 0, as in a failure record) as an error's message names it: `mount proc on /proc`, `execve /bin/sh`.
 * A row that is not in the program is `row n`: the number came from another process.
 */
export function nameStep(program: Program, row: number): string {
  const found = program.rows[row];
  if (!found) return `row ${row}`;
  if (found.kind === "fail") return `${found.call} ${plain(found.object)}`;
  if (found.kind !== "call") return found.kind;
  const object = objectOf(found);
  return object ? `${found.call} ${object}` : found.call;
}

function objectOf(row: CallRow): string {
  const named = (index: number) => objectText(row, index);
  switch (row.call) {
    case "mount":
      return [named(0), "on", named(1)].filter(Boolean).join(" ");
    case "move_mount":
      return `${named(1) || named(0)} to ${named(3) || named(2)}`;
    case "symlinkat":
      return named(2);
  }
  const params: readonly Param[] = SIGNATURES[row.call];
  const first = (wanted: (kind: ParamKind) => boolean) =>
    params.flatMap(([, kind], i) => (wanted(kind) && named(i) ? [named(i)] : []))[0];
  return (
    first((kind) => kind === "path" || kind === "text") ??
    first((kind) => typeof kind === "object" && "choice" in kind) ??
    first((kind) => kind === "fd" || kind === "dirfd") ??
    first((kind) => typeof kind === "object") ??
    ""
  );
}

/** Empty where there is nothing to say: NULL, "", a bare descriptor. */
function objectText(row: CallRow, index: number): string {
  const operand: Operand | undefined = row.args[index];
  const kind = SIGNATURES[row.call][index]?.[1];
  if (operand instanceof Slot) return plain(operand.name);
  if (operand instanceof Data) return plain(textOf(operand) ?? operand.shown);
  if (operand instanceof Offset) return plain(operand.data.shown);
  if (operand === undefined || typeof kind !== "object") return "";
  return showArgument(row.call, row.args, index, new Map());
}

/** A table of step, call and cause, in lines of at most `width` characters where the words allow it. */
export function format(steps: readonly Step[], width = 120): string {
  const numberWidth = String(steps.at(-1)?.total ?? 0).length;
  const whyWidth = Math.min(longest(steps.map((step) => step.why)), Math.max(16, Math.floor(width / 3)));
  const textWidth = Math.max(24, Math.min(longest(steps.map(({ text }) => text)), width - numberWidth - whyWidth - 4));
  const lines: string[] = [];
  for (const step of steps) {
    for (const label of step.labels) lines.push(`${label}:`);
    const text = wrap(step.text, textWidth);
    const why = wrap(step.why, whyWidth);
    for (let i = 0; i < Math.max(text.length, why.length); i++) {
      const number = i === 0 ? String(step.step) : "";
      lines.push(`${number.padStart(numberWidth)}  ${(text[i] ?? "").padEnd(textWidth)}  ${why[i] ?? ""}`.trimEnd());
    }
  }
  return lines.join("\n");
}

function longest(texts: readonly string[]): number {
  return texts.reduce((max, text) => Math.max(max, text.length), 0);
}

/** Breaks after a space or `|`; the lines that follow are indented. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/(?<=[ |])/)) {
    if (line.trim() && line.length + word.trimEnd().length > width) {
      lines.push(line.trimEnd());
      line = "  ";
    }
    line += word;
  }
  return [...lines, line.trimEnd()];
}

/**
 * The lines of `a` and `b` that differ, `-` and `+`, each change between at most two equal lines before and after it;
 * `...` stands for more of them. Step numbers do not count. Empty if nothing differs.
 */
export function diff(a: readonly Step[], b: readonly Step[]): string {
  const before = a.map(lineOf);
  const after = b.map(lineOf);
  // common[i][j]: length of the longest common subsequence of before[i..] and after[j..].
  const common = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i]![j] =
        before[i] === after[j] ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
    }
  }
  const lines: { mark: " " | "-" | "+"; text: string }[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push({ mark: " ", text: before[i++]! });
      j++;
    } else if (i < before.length && (j === after.length || common[i + 1]![j]! >= common[i]![j + 1]!)) {
      lines.push({ mark: "-", text: before[i++]! });
    } else lines.push({ mark: "+", text: after[j++]! });
  }
  return withContext(lines);
}

const CONTEXT = 2;

function withContext(lines: readonly { mark: string; text: string }[]): string {
  const near = (at: number) =>
    lines.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(({ mark }) => mark !== " ");
  const shown: string[] = [];
  let skipping = false;
  for (const [at, { mark, text }] of lines.entries()) {
    if (near(at)) shown.push(`${mark} ${text}`);
    else if (!skipping) shown.push("...");
    skipping = !near(at);
  }
  return shown.every((line) => line === "...") ? "" : shown.join("\n");
}

function lineOf(step: Step): string {
  const labels = step.labels.map((label) => `${label}: `).join("");
  return `${labels}${step.text}${step.why ? `  # ${step.why}` : ""}`;
}
