import type { Heredoc, Source } from "./ast.ts";
import type { DirectiveReader } from "./directives.ts";
import { DockerfileError, SyntaxFault } from "./error.ts";
import { heredocMarks } from "./heredoc.ts";
import { cutAtBlank, cutFlags, jsonStrings } from "./words.ts";

/** One instruction, its words not looked at yet. */
export interface Line {
  /** As written: `Run`. */
  readonly keyword: string;
  readonly flags: readonly string[];
  readonly rest: string;
  readonly heredocs: readonly Heredoc[];
  /** Bodies of the heredocs as written, leading tabs of `<<-` included. */
  readonly bodies: readonly string[];
  readonly source: Source;
  readonly comment?: string;
  /** Lines of continuations that hold nothing (1-based). */
  readonly emptyContinuations: readonly number[];
  readonly escape: "\\" | "`";
}

/** Instructions that take heredocs, and the one that takes those. */
const HEREDOC = new Set(["run", "copy", "add"]);

/**
 * The instructions of a Dockerfile: comments out, continuations joined, heredocs collected, directives in `reader`.
 * Errors: DockerfileError.
 */
export function splitLines(text: string, reader: DirectiveReader): Line[] {
  const physical = text.replace(/^\uFEFF/, "").split("\n");
  if (physical.at(-1) === "") physical.pop();
  const lines: Line[] = [];
  let comments: string[] = [];
  for (let at = 0; at < physical.length; ) {
    const first = at++;
    const start = withoutEnd(physical[first]!).trimStart();
    try {
      if (reader.line(start)) continue;
    } catch (error) {
      throw located(error, sourceOf(physical, first, first, start));
    }
    if (start.startsWith("#")) {
      comments.push(start.slice(1).trim());
      continue;
    }
    const token = reader.escape;
    let { text: part, more } = continued(start, token);
    if (part === "" && !more) continue;
    const parts = [part];
    const emptyContinuations: number[] = [];
    while (more && at < physical.length) {
      const line = withoutEnd(physical[at++]!);
      const bare = line.trimStart();
      if (bare.startsWith("#")) continue;
      if (bare === "") {
        emptyContinuations.push(at);
        continue;
      }
      ({ text: part, more } = continued(line, token));
      parts.push(part);
    }
    const code = parts.join("").trim();
    if (code === "") continue;
    const [keyword, args = ""] = cutAtBlank(code);
    const { flags, rest } = cutFlags(args);
    const heredocs: Heredoc[] = [];
    const bodies: string[] = [];
    if (takesHeredocs(keyword, rest)) {
      for (const mark of heredocMarks(code)) {
        const body: string[] = [];
        for (;;) {
          if (at === physical.length) {
            const source = sourceOf(physical, first, at - 1, code);
            throw located(new SyntaxFault(`unterminated heredoc ${mark.name}: no line holds only that`, "<<"), source);
          }
          const line = physical[at++]!;
          const end = withoutEnd(line);
          if ((mark.chomp ? end.replace(/^\t+/, "") : end) === mark.name) break;
          body.push(`${line}\n`);
        }
        const written = body.join("");
        bodies.push(written);
        heredocs.push({ ...mark, content: mark.chomp ? written.replace(/^\t+/gm, "") : written });
      }
    }
    const comment = comments.join("\n").trim();
    comments = [];
    lines.push({
      keyword,
      flags,
      rest,
      heredocs,
      bodies,
      source: sourceOf(physical, first, at - 1, code),
      ...(comment === "" ? {} : { comment }),
      emptyContinuations,
      escape: token,
    });
  }
  return lines;
}

function takesHeredocs(keyword: string, rest: string): boolean {
  let name = keyword.toLowerCase();
  let args = rest;
  if (name === "onbuild") {
    const [inner, behind = ""] = cutAtBlank(rest);
    name = inner.toLowerCase();
    args = cutFlags(behind).rest;
  }
  if (!HEREDOC.has(name)) return false;
  try {
    return jsonStrings(args) === undefined;
  } catch {
    return false;
  }
}

const withoutEnd = (line: string) => (line.endsWith("\r") ? line.slice(0, -1) : line);

/** The line without the escape character that ends it; a doubled one ends nothing. */
function continued(line: string, token: string): { text: string; more: boolean } {
  let end = line.length;
  while (end > 0 && (line[end - 1] === " " || line[end - 1] === "\t")) end--;
  if (line[end - 1] !== token || line[end - 2] === token) return { text: line, more: false };
  return { text: line.slice(0, end - 1), more: true };
}

function sourceOf(physical: readonly string[], first: number, last: number, code: string): Source {
  const written = withoutEnd(physical[first]!);
  return {
    text: physical.slice(first, last + 1).join("\n"),
    code,
    line: first + 1,
    endLine: last + 1,
    column: written.length - written.trimStart().length + 1,
  };
}

/** A fault with its place: of the word it names, or of the instruction. */
export function located(error: unknown, source: Source): unknown {
  if (!(error instanceof SyntaxFault)) return error;
  let { line, column } = source;
  const at = error.word ? source.text.indexOf(error.word) : -1;
  if (at > 0) {
    const before = source.text.slice(0, at).split("\n");
    line += before.length - 1;
    column = before.at(-1)!.length + 1;
  }
  return new DockerfileError(error.message, line, column, error.hint);
}
