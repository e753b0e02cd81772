import type { Source } from "./dockerfile/ast.ts";

const AROUND = 2;
const MOST_LINES = 60;

/** The lines of an instruction, marked, between those around it. */
export function excerpt(
  file: { text: string; name: string },
  { line, endLine }: Pick<Source, "line" | "endLine">,
): string {
  const lines = file.text.split("\n").map((one) => one.replace(/\r$/, ""));
  const first = Math.max(1, line - AROUND);
  const last = Math.min(lines.length, endLine + AROUND, first + MOST_LINES);
  const shown: string[] = [`${file.name}:${line}`, "--------------------"];
  for (let at = first; at <= last; at++) {
    const marked = at >= line && at <= endLine ? ">>>" : "   ";
    shown.push(` ${String(at).padStart(3)} | ${marked} ${(lines[at - 1] ?? "").slice(0, 500)}`);
  }
  shown.push("--------------------");
  return shown.join("\n");
}
