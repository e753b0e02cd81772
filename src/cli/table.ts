import { toJson } from "../base/template/functions.ts";
import { compileTemplate } from "../base/template/template.ts";

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
export type Row = Record<string, string | number | ((...args: unknown[]) => string)>;

/**
 * Prints rows by `--format`: "" or "table" take `usual`, "table TEMPLATE" has headers and aligned columns, "json" an
 * object a line, anything else is a template a line. `headers` names each field's column.
 */
export function formatRows(
  format: string,
  usual: string,
  rows: readonly Row[],
  headers: Record<string, string>,
): string {
  const chosen = format === "" || format === "table" ? `table ${usual}` : format;
  if (chosen === "json") return rows.map((row) => `${rowJson(row)}\n`).join("");
  const table = chosen.startsWith("table ");
  const print = compileTemplate(
    (table ? chosen.slice("table ".length) : chosen).replaceAll("\\t", "\t").replaceAll("\\n", "\n"),
  );
  const data = rows.map(jsonable);
  const lines = data.map(print);
  if (!table) return lines.map((line) => `${line}\n`).join("");
  return align([print(headerRow(headers)), ...lines]);
}

function rowJson(row: Row): string {
  const plain = Object.entries(row).filter(([, value]) => typeof value !== "function");
  return toJson(Object.fromEntries(plain.toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

/** `{{json .}}` prints the fields without the functions. */
function jsonable(row: Row): Row {
  return Object.defineProperty({ ...row }, "toJSON", { value: () => JSON.parse(rowJson(row)), enumerable: false });
}

function headerRow(headers: Record<string, string>): Row {
  const row: Row = { ...headers };
  if (headers.Label !== undefined) row.Label = (key) => String(key).split(".").at(-1)!;
  return row;
}
