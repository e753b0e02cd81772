import { SyntaxFault } from "./error.ts";
import { Expander } from "./expand.ts";

const MARK = /^(\d*)<<(-?)\s*([^<]*)$/;
const NONE = () => undefined;

/** `<<EOF` without its body. */
export interface HeredocMark {
  readonly name: string;
  readonly expand: boolean;
  readonly fd: number;
  readonly chomp: boolean;
}

/** A word that opens a heredoc (`<<EOF`, `<<-EOF`, `3<<"EOF"`); undefined for any other. */
export function heredocMark(word: string): HeredocMark | undefined {
  if (!word.includes("<<")) return undefined;
  const [, fd, dash, rest] = MARK.exec(word) ?? [];
  if (!rest) return undefined;
  try {
    const names = new Expander("\\", { keepUnset: true }).words(rest, NONE);
    const raw = new Expander("\\", { keepUnset: true, rawQuotes: true }).words(rest, NONE);
    if (names.length !== 1 || raw.length !== 1) return undefined;
    return { name: names[0]!, expand: quotes(names[0]!) === quotes(raw[0]!), fd: Number(fd), chomp: dash === "-" };
  } catch (error) {
    if (error instanceof SyntaxFault) return undefined;
    throw error;
  }
}

const quotes = (text: string) => text.replace(/[^'"]/g, "").length;

/** The heredocs that a line opens, in order. A line whose quotes do not close opens none. */
export function heredocMarks(line: string): HeredocMark[] {
  if (!line.includes("<<")) return [];
  try {
    const lexer = new Expander("\\", { rawQuotes: true, rawEscapes: true, keepUnset: true });
    return lexer.words(line, NONE).flatMap((word) => heredocMark(word) ?? []);
  } catch (error) {
    if (error instanceof SyntaxFault) return [];
    throw error;
  }
}
