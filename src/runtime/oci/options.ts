import { invalid } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";

/** A flag's kind by its long name; `name,n` gives it a short one. */
export type Flags = Readonly<Record<string, "bool" | "text" | "list" | "count">>;

export interface Parsed {
  bools: Set<string>;
  texts: Map<string, string>;
  lists: Map<string, string[]>;
  rest: string[];
}

/**
 * Parses runc's command lines: `--name value`, `--name=value`, a single dash works too, `--` ends the flags. With
 * `stopEarly` the first argument ends them. An unknown flag is an error that names the nearest.
 */
export function parseFlags(argv: readonly string[], flags: Flags, stopEarly: boolean): Parsed {
  const names = new Map<string, string>();
  for (const key in flags) {
    const [long = "", short] = key.split(",");
    names.set(long, key);
    if (short) names.set(short, key);
  }
  const parsed: Parsed = { bools: new Set(), texts: new Map(), lists: new Map(), rest: [] };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === "--") {
      parsed.rest.push(...argv.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      if (stopEarly) {
        parsed.rest.push(...argv.slice(i));
        break;
      }
      parsed.rest.push(word);
      continue;
    }
    const equals = word.indexOf("=");
    const given = (equals < 0 ? word : word.slice(0, equals)).replace(/^--?/, "");
    const key = names.get(given);
    if (key === undefined)
      throw invalid(`flag provided but not defined: -${given}${didYouMean(given, [...names.keys()])}`);
    const long = key.split(",")[0]!;
    const kind = flags[key]!;
    if (kind === "bool") {
      const value = equals < 0 ? "true" : word.slice(equals + 1);
      if (value !== "true" && value !== "false")
        throw invalid(`--${long}: ${JSON.stringify(value)} is not true or false`);
      if (value === "true") parsed.bools.add(long);
      else parsed.bools.delete(long);
      continue;
    }
    const value = equals < 0 ? argv[++i] : word.slice(equals + 1);
    if (value === undefined) throw invalid(`flag needs an argument: --${long}`);
    if (kind === "count" && !/^\d{1,6}$/.test(value)) throw invalid(`--${long}: ${JSON.stringify(value)} is no number`);
    if (kind === "list") parsed.lists.set(long, [...(parsed.lists.get(long) ?? []), value]);
    else parsed.texts.set(long, value);
  }
  return parsed;
}
