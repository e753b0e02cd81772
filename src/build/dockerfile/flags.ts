import { nearest } from "../../base/nearest.ts";
import { quoted, SyntaxFault } from "./error.ts";

/** How often a flag may stand and what its value is. */
export type FlagKind = "string" | "strings" | "bool";

/** Flags of one instruction, as read by `readFlags`. */
export class Flags {
  constructor(private readonly values: ReadonlyMap<string, readonly string[]>) {}

  has(name: string): boolean {
    return this.values.has(name);
  }
  string(name: string): string | undefined {
    return this.values.get(name)?.[0];
  }
  strings(name: string): readonly string[] {
    return this.values.get(name) ?? [];
  }
  bool(name: string): boolean | undefined {
    const value = this.string(name);
    return value === undefined ? undefined : value === "true";
  }
}

/** Checks `--name[=value]` words against what the instruction knows. Errors: SyntaxFault. */
export function readFlags(given: readonly string[], known: Readonly<Record<string, FlagKind>>): Flags {
  const values = new Map<string, string[]>();
  for (const flag of given) {
    const at = flag.indexOf("=");
    const name = flag.slice(2, at < 0 ? undefined : at);
    if (!Object.hasOwn(known, name)) {
      throw new SyntaxFault(`unknown flag: --${name.slice(0, 100)}`, `--${name}`, hint(name, known));
    }
    const kind = known[name];
    const before = values.get(name);
    if (before && kind !== "strings") throw new SyntaxFault(`duplicate flag specified: ${name}`, flag);
    let value = flag.slice(at + 1);
    if (kind === "bool") {
      value = at < 0 ? "true" : value.toLowerCase();
      if (value !== "true" && value !== "false") {
        throw new SyntaxFault(`expecting boolean value for flag ${name}, not: ${quoted(value)}`, flag);
      }
    } else if (at < 0) throw new SyntaxFault(`missing a value on flag: ${name}`, flag);
    if (before) before.push(value);
    else values.set(name, [value]);
  }
  return new Flags(values);
}

function hint(name: string, known: Readonly<Record<string, FlagKind>>): string | undefined {
  const near = nearest(name, Object.keys(known));
  return near === undefined ? undefined : `--${near}`;
}
