import { MARSHAL, toJson } from "../base/template/functions.ts";
import { compileTemplate, TemplateError } from "../base/template/template.ts";
import { ExitError } from "./command.ts";

const MIN_WIDTH = 10;
const PADDING = 3;

/** Aligns lines of tab-separated cells as docker does: columns at least 10 wide, 3 blanks between them. */
export function align(lines: readonly string[]): string {
  const rows = lines.map((line) => line.split("\t"));
  const widths: number[] = [];
  for (const row of rows) {
    row.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? MIN_WIDTH, [...cell].length + PADDING);
    });
  }
  return rows
    .map((row) => {
      const last = row.length - 1;
      return `${row.map((cell, i) => (i < last ? cell + " ".repeat(widths[i]! - [...cell].length) : cell)).join("")}\n`;
    })
    .join("");
}

/** Fields of one row; functions take arguments, as `.Label "key"`. Made when the template asks. */
export type Row = Record<string, string | number | boolean | null | ((...args: unknown[]) => string)>;

/**
 * Prints rows by `--format`: "" or "table" take `usual`, "table TEMPLATE" has headers and aligned columns, "json" an
 * object a line, anything else is a template a line. `headers` names each field's column. A wrong template is an
 * ExitError 1 with docker's words.
 */
export function formatRows(
  format: string,
  usual: string,
  rows: readonly Row[],
  headers: Record<string, string>,
): string {
  const { table, template } = formatOf(format, usual);
  if (template === "json") return rows.map((row) => `${rowJson(row)}\n`).join("");
  try {
    const print = compileTemplate(template);
    const lines = rows.map((row) => print(jsonable(row)));
    if (!table) return lines.map((line) => `${line}\n`).join("");
    return align([print(headerRow(headers)), ...lines]);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    const what = error.parsing
      ? error.message.replace("template parsing error", "failed to parse template")
      : `failed to execute template: ${error.message}`;
    throw new ExitError(1, what);
  }
}

/** The template of a `--format`, and whether it makes a table; `\t` and `\n` in it are a tab and a new line. */
function formatOf(format: string, usual: string): { table: boolean; template: string } {
  const words = format.trim().replaceAll("\\t", "\t").replaceAll("\\n", "\n");
  if (format === "" || words === "table") return { table: true, template: usual };
  const table = words.startsWith("table");
  return { table, template: table ? words.slice("table".length).trimStart() : words };
}

/** As Go writes JSON: keys in order, <, > and & escaped. */
function rowJson(row: Row): string {
  const plain = Object.entries(row).filter(([, value]) => typeof value !== "function");
  const sorted = Object.fromEntries(plain.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return toJson(sorted).replace(/[<>&\u2028\u2029]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** `{{json .}}` prints the fields without the functions. */
function jsonable(row: Row): Row {
  return Object.defineProperty({ ...row }, MARSHAL, { value: () => rowJson(row), enumerable: false });
}

function headerRow(headers: Record<string, string>): Row {
  const row: Row = { ...headers };
  if (headers.Label !== undefined) row.Label = (key) => String(key).split(".").at(-1)!;
  return row;
}
