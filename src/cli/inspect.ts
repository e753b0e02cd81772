import { toJson } from "../base/template/functions.ts";
import { compileTemplate } from "../base/template/template.ts";
import { isStatus } from "../client/api-error.ts";
import type { Engine } from "../client/engine.ts";
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
export type Finder = (engine: Engine, name: string) => Promise<unknown>;

/** A finder that takes 404 as "none". */
export function finder(find: (engine: Engine, name: string) => Promise<unknown>): Finder {
  return (engine, name) =>
    find(engine, name).catch((error: unknown) => {
      if (isStatus(error, 404)) return undefined;
      throw error;
    });
}

/**
 * Prints the objects that the names stand for, each found by the first finder that knows it: an array with four blanks,
 * or one template line each. What is missing is said at the end; the status is then 1.
 */
export async function inspectAll(
  engine: Engine,
  names: readonly string[],
  finders: readonly Finder[],
  format: string,
  missing: (name: string) => string,
): Promise<number> {
  const print = format === "" || format === "json" ? undefined : compileTemplate(format);
  const found: unknown[] = [];
  const errors: string[] = [];
  for (const name of names) {
    try {
      let object: unknown;
      for (const find of finders) {
        object = await find(engine, name);
        if (object !== undefined) break;
      }
      if (object === undefined) errors.push(missing(name));
      else found.push(object);
    } catch (error) {
      errors.push(errorText(error));
    }
  }
  if (print) await stdout.write(found.map((object) => `${print(object)}\n`).join(""));
  else if (format === "json") await stdout.line(toJson(found));
  else await stdout.line(found.length === 0 ? "[]" : JSON.stringify(found, undefined, 4));
  for (const error of errors) await stderr.line(error);
  return errors.length > 0 ? 1 : 0;
}
