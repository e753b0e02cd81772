/**
 * Options as docker's command line has them: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`,
 * grouped short booleans (`-it`), `--flag=false`, and `--` to end them.
 *
 * commander is not used: it adds about 20 ms to the cold start of `inro run`, this file below 1 ms; and one table per
 * command drives parsing, help and completion.
 */
export interface Flag {
  name: string;
  short?: string;
  /** bool takes no value of its own; list and map collect; count is a 32-bit integer. */
  type: "bool" | "string" | "int" | "uint" | "list";
  /** The word for the value in the help; the default is the type's. */
  value?: string;
  /** Shown in the help; not applied. */
  default?: string;
  help: string;
  /** Accepted but not listed. */
  hidden?: boolean;
  aliases?: readonly string[];
  /** Turns the text into the value, or throws an Error that says what is wrong with it. */
  parse?: (text: string) => unknown;
  /** The key of config.json that has another default. */
  config?: "psFormat" | "imagesFormat" | "statsFormat" | "volumesFormat" | "networksFormat" | "detachKeys";
  /** Values for completion, or what they name. */
  choices?: readonly string[];
  completes?: Completes;
}

/** What a word may name, for completion. */
export type Completes = "container" | "running" | "image" | "network" | "volume" | "file";

/** Of all commands that attach to a terminal. */
export const detachKeysFlag: Flag = {
  name: "detach-keys",
  type: "string",
  default: "ctrl-p,ctrl-q",
  config: "detachKeys",
  help: "Keys that detach from a terminal",
};

/** A wrong command line. */
export class FlagError extends Error {
  constructor(
    message: string,
    /** The unknown flag, with its dashes. */
    readonly unknown?: string,
  ) {
    super(message);
  }
}

/** The values of one parsed command line. */
export class Options {
  readonly values = new Map<string, unknown>();
  /** Where the user's configuration has them: texts of flags that are not given. */
  readonly defaults = new Map<string, string>();

  /** True when the flag stands on the command line. */
  has(name: string): boolean {
    return this.values.has(name);
  }
  bool(name: string): boolean {
    return this.values.get(name) === true;
  }
  /** The text given, or the configuration's, or "". */
  string(name: string): string {
    return (this.values.get(name) as string | undefined) ?? this.defaults.get(name) ?? "";
  }
  number(name: string): number | undefined {
    return this.values.get(name) as number | undefined;
  }
  list<T = string>(name: string): T[] {
    return (this.values.get(name) as T[] | undefined) ?? [];
  }
  /** What the flag's `parse` made. */
  value<T>(name: string): T | undefined {
    return this.values.get(name) as T | undefined;
  }
}

/** Parses `argv` by the table. Gives the options and what is left; throws FlagError. `help` is true at --help. */
export function parseFlags(
  flags: readonly Flag[],
  argv: readonly string[],
  interspersed = true,
): { options: Options; args: string[]; help: boolean } {
  const options = new Options();
  const args: string[] = [];
  let help = false;
  const long = (name: string) => flags.find((flag) => flag.name === name || flag.aliases?.includes(name));
  let at = 0;
  const take = (shown: string): string => {
    const value = argv[at];
    if (value === undefined) throw new FlagError(`flag needs an argument: ${shown}`);
    at++;
    return value;
  };

  while (at < argv.length) {
    const word = argv[at++]!;
    if (word === "--") {
      args.push(...argv.slice(at));
      break;
    }
    if (word.startsWith("--")) {
      const equals = word.indexOf("=");
      const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
      if (name === "" || name.startsWith("-")) throw new FlagError(`bad flag syntax: ${word}`);
      const flag = long(name);
      if (!flag) {
        if (name === "help") {
          help = equals < 0 || parsed(HELP, word.slice(equals + 1)) === true;
          continue;
        }
        throw new FlagError(`unknown flag: --${name}`, `--${name}`);
      }
      const value = equals >= 0 ? word.slice(equals + 1) : flag.type === "bool" ? "true" : take(`--${name}`);
      store(options, flag, value);
    } else if (word.length > 1 && word.startsWith("-")) {
      for (let i = 1; i < word.length; i++) {
        const letter = word[i]!;
        const flag = flags.find((one) => one.short === letter);
        if (!flag) {
          if (letter === "h") {
            help = true;
            continue;
          }
          throw new FlagError(`unknown shorthand flag: '${letter}' in -${word.slice(i)}`, `-${letter}`);
        }
        const rest = word.slice(i + 1);
        if (rest.startsWith("=")) {
          store(options, flag, rest.slice(1));
          break;
        }
        if (flag.type === "bool") {
          store(options, flag, "true");
          continue;
        }
        store(options, flag, rest !== "" ? rest : take(`'${letter}' in -${letter}`));
        break;
      }
    } else {
      args.push(word);
      if (!interspersed) {
        args.push(...argv.slice(at));
        break;
      }
    }
  }
  return { options, args, help };
}

const HELP: Flag = { name: "help", type: "bool", help: "" };

function store(options: Options, flag: Flag, text: string): void {
  const value = parsed(flag, text);
  if (flag.type !== "list") options.values.set(flag.name, value);
  else options.values.set(flag.name, [...options.list<unknown>(flag.name), value]);
}

function parsed(flag: Flag, text: string): unknown {
  try {
    return convert(flag, text);
  } catch (error) {
    const shown = flag.short ? `-${flag.short}, --${flag.name}` : `--${flag.name}`;
    throw new FlagError(`invalid argument ${JSON.stringify(text)} for "${shown}" flag: ${(error as Error).message}`);
  }
}

function convert(flag: Flag, text: string): unknown {
  if (flag.type === "bool") return parseBool(text);
  if (flag.parse) return flag.parse(text);
  if (flag.type === "int" || flag.type === "uint") return parseInteger(text, flag.type === "uint");
  return text;
}

/** Go's ParseBool. */
export function parseBool(text: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** A whole number, decimal or with 0x, 0o, 0b; exact up to 2^53. */
export function parseInteger(text: string, unsigned = false): number {
  const parser = unsigned ? "ParseUint" : "ParseInt";
  if (!/^[+-]?(\d+|0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+)$/.test(text) || (unsigned && /^[+-]/.test(text))) {
    throw new Error(`strconv.${parser}: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const negative = text.startsWith("-");
  const digits = text.replace(/^[+-]/, "");
  const value = Number(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (!Number.isSafeInteger(value)) {
    throw new Error(`strconv.${parser}: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return negative ? -value : value;
}
