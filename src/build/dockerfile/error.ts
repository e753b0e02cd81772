import { InroError } from "../../base/errors.ts";

/**
 * What is wrong in a Dockerfile, and where: 1-based line and column, and the nearest right word when one is close.
 * The message holds them all; it is for the user.
 */
export class DockerfileError extends InroError {
  override name = "DockerfileError";
  constructor(
    readonly detail: string,
    readonly line: number,
    readonly column: number,
    readonly hint?: string,
  ) {
    super(
      "invalid",
      `dockerfile parse error on line ${line}, column ${column}: ${detail}${hint ? ` (did you mean ${hint}?)` : ""}`,
    );
  }
}

/** What an instruction refers to could not be had: with the kind and message of its cause. Lines are 1-based. */
export class InstructionError extends InroError {
  override name = "InstructionError";
  constructor(
    cause: InroError,
    readonly line: number,
    readonly endLine: number,
  ) {
    super(cause.kind, cause.message, { cause });
  }
}

/** What is wrong inside one instruction; `parse.ts` adds where. `word` is the part of the line it is about. */
export class SyntaxFault extends InroError {
  override name = "SyntaxFault";
  constructor(
    message: string,
    readonly word?: string,
    readonly hint?: string,
  ) {
    super("invalid", message);
  }
}

const LONGEST = 120;

/** `text` in quotes, shortened: for messages about hostile input. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
}
