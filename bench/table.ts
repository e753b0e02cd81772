/** Rows of text as a markdown table; numbers (all columns but the first and the last) are set to the right. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 || i === head.length - 1 ? "---" : "---:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** The same for a terminal: columns as wide as their widest cell. */
export function plainTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, i) => (i === 0 || i === head.length - 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Milliseconds with three significant digits: `0.42`, `3.14`, `12.3`, `267`. */
export function milliseconds(value: number): string {
  if (Number.isNaN(value)) return "-";
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

/** Bytes as `16 KB`, `9.8 MB`. */
export function bytes(value: number): string {
  if (Number.isNaN(value)) return "-";
  return value < 1_000_000 ? `${Math.round(value / 1000)} KB` : `${(value / 1_000_000).toFixed(1)} MB`;
}

export function ratio(value: number, base: number): string {
  const times = value / base;
  return Number.isFinite(times) ? `${times.toFixed(times < 1 ? 2 : times < 10 ? 1 : 0)}x` : "-";
}
