import { toJson } from "../base/template/functions.ts";
import { compileTemplate, TemplateError } from "../base/template/template.ts";
import type { Engine } from "../client/engine.ts";
import { absent } from "./absent.ts";
import { ExitError } from "./command.ts";
import { errorText } from "./error-text.ts";
import type { Flag } from "./flags.ts";
import { stderr, stdout } from "./output.ts";

export const formatFlag: Flag = {
  name: "format",
  short: "f",
  type: "string",
  help: "Go template, or json",
};

/** Finds one object, or undefined when this kind has none of that name. */
export type Finder<E = Engine> = (engine: E, name: string) => Promise<unknown>;

/**
 * Prints the objects that the names stand for, each found by the first finder that knows it: an array with four blanks,
 * or one template line each. What is missing is said at the end; the status is then 1. A name that no finder knows is
 * an error; of one kind alone the finder's own error tells what is missing.
 */
export async function inspectAll<E>(
  engine: E,
  names: readonly string[],
  finders: readonly Finder<E>[],
  format: string,
): Promise<number> {
  const print = format === "" || format === "json" ? undefined : objectPrinter(format);
  const found: unknown[] = [];
  const errors: string[] = [];
  for (const name of names) {
    try {
      let object: unknown;
      for (const find of finders) {
        object = await find(engine, name);
        if (object !== undefined) break;
      }
      if (object === undefined) errors.push(`Error: No such object: ${name}`);
      else found.push(object);
    } catch (error) {
      errors.push(errorText(error));
    }
  }
  if (print) errors.unshift(...(await printObjects(found, print)));
  else if (format === "json") await stdout.line(toJson(found));
  else await stdout.line(found.length === 0 ? "[]" : JSON.stringify(found, undefined, 4));
  for (const error of errors) await stderr.line(error);
  return errors.length > 0 ? 1 : 0;
}

/** A `--format` for whole objects; one that is no template is an ExitError 64. */
export function objectPrinter(format: string): (object: unknown) => string {
  const failure = (error: unknown, status: number) => {
    if (!(error instanceof TemplateError)) return error;
    return new ExitError(status, error.parsing ? error.message : `template parsing error: ${error.message}`);
  };
  let print: (object: unknown) => string;
  try {
    print = compileTemplate(format, absent);
  } catch (error) {
    throw failure(error, 64);
  }
  return (object) => {
    try {
      return print(object);
    } catch (error) {
      throw failure(error, 1);
    }
  };
}

/** Prints one object; where it lacks what the template asks for, an empty line, and throws that. */
export async function printObject(object: unknown, print: (object: unknown) => string): Promise<void> {
  try {
    await stdout.line(print(object));
  } catch (error) {
    if (error instanceof ExitError) await stdout.line("");
    throw error;
  }
}

/** A line for each, at least one; stops at the first that lacks what the template asks for, and gives that error. */
async function printObjects(objects: readonly unknown[], print: (object: unknown) => string): Promise<string[]> {
  const errors: string[] = [];
  let lines = "";
  try {
    for (const object of objects) lines += `${print(object)}\n`;
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    errors.push(error.message);
  }
  await stdout.write(lines || "\n");
  return errors;
}
