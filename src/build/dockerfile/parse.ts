import { invalid } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import type { Arg, Dockerfile, Instruction, Stage } from "./ast.ts";
import { DirectiveReader } from "./directives.ts";
import { DockerfileError, quoted, SyntaxFault } from "./error.ts";
import { readFlags } from "./flags.ts";
import { INSTRUCTIONS, readInstruction } from "./instructions.ts";
import { type Line, located, splitLines } from "./lines.ts";
import { lint } from "./lint.ts";
import { blankSeparated } from "./words.ts";

/** UTF-16 units of the longest Dockerfile. */
/** Bytes of a Dockerfile, or UTF-16 units of its text. */
export const MAX_DOCKERFILE = 4 << 20;
const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;

type Draft = Stage & { instructions: Instruction[] };

/**
 * A Dockerfile as a tree. Words stay unexpanded; what depends on values is the builder's to check. Warnings are those of
 * lint.ts that the text alone gives, less what its `check` directive skips. Errors: DockerfileError.
 */
export function parseDockerfile(text: string): Dockerfile {
  const reader = new DirectiveReader();
  const lines = splitLines(bounded(text), reader);
  const globalArgs: Arg[] = [];
  const stages: Draft[] = [];
  for (const line of lines) {
    at(line, () => {
      if (line.keyword.toLowerCase() === "from") {
        stages.push(stageOf(line, stages.length));
        return;
      }
      const instruction = known(line);
      const stage = stages.at(-1);
      if (stage) stage.instructions.push(instruction);
      else if (instruction.kind === "arg") globalArgs.push(instruction);
      else throw new SyntaxFault(`no build stage in current context: ${line.keyword} stands before the first FROM`);
    });
  }
  if (lines.length === 0) throw new DockerfileError("file with no instructions", 1, 1);
  if (stages.length === 0) throw new DockerfileError("dockerfile contains no stages to build: FROM is missing", 1, 1);
  const { directives } = reader;
  const file = { directives, globalArgs, stages };
  return { ...file, warnings: lint(file, lines) };
}

/** One instruction: a trigger of ONBUILD, a `--change` of commit and import. Errors: DockerfileError. */
export function parseInstruction(text: string, token: "\\" | "`" = "\\"): Instruction {
  const reader = new DirectiveReader();
  if (token === "`") reader.line("# escape=`");
  const [line, second] = splitLines(bounded(text), reader.close());
  if (!line) throw new DockerfileError("no instruction", 1, 1);
  if (second) throw new DockerfileError("more than one instruction", second.source.line, second.source.column);
  return at(line, () => {
    if (line.keyword.toLowerCase() === "from") throw new SyntaxFault("FROM isn't allowed here");
    return known(line);
  });
}

function bounded(text: string): string {
  if (text.length > MAX_DOCKERFILE) throw invalid(`the Dockerfile is longer than ${MAX_DOCKERFILE} characters`);
  const nul = text.indexOf("\0");
  if (nul < 0) return text;
  const before = text.slice(0, nul).split("\n");
  throw new DockerfileError("NUL character: this is no text file", before.length, before.at(-1)!.length + 1);
}

function at<T>(line: Line, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw located(error, line.source);
  }
}

function known(line: Line): Instruction {
  const instruction = readInstruction(line);
  if (instruction) return instruction;
  const { keyword } = line;
  const name = keyword.slice(0, 100);
  throw new SyntaxFault(`unknown instruction: ${name}`, keyword, nearest(name, INSTRUCTIONS));
}

function stageOf(line: Line, index: number): Draft {
  const words = blankSeparated(line.rest);
  const [reference, as, name] = words;
  if (reference === undefined || (words.length !== 1 && !(words.length === 3 && as?.toLowerCase() === "as"))) {
    const hint = words.length === 3 ? "AS" : undefined;
    throw new SyntaxFault("FROM requires either one or three arguments", words.length === 3 ? as : undefined, hint);
  }
  const lower = name?.toLowerCase();
  if (lower !== undefined && !STAGE_NAME.test(lower)) {
    throw new SyntaxFault(
      `invalid name for build stage: ${quoted(name!)}, name can't start with a number or contain symbols`,
      name,
    );
  }
  const platform = readFlags(line.flags, { platform: "string" }).string("platform");
  return {
    index,
    ...(lower === undefined ? {} : { name: lower }),
    from: { reference, ...(platform ? { platform } : {}) },
    instructions: [],
    source: line.source,
    ...(line.comment === undefined ? {} : { comment: line.comment }),
  };
}
