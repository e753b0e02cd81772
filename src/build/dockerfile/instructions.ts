import { parseDuration } from "../../base/duration.ts";
import type { ArgPair, Healthcheck, Instruction, Pair } from "./ast.ts";
import { quoted, SyntaxFault } from "./error.ts";
import { parseAdd, parseCopy } from "./files.ts";
import { type FlagKind, readFlags } from "./flags.ts";
import type { Line } from "./lines.ts";
import { commandOf, parseRun } from "./run.ts";
import { blankSeparated, cutAtBlank, jsonStrings, quotedWords } from "./words.ts";

type Body = Instruction extends infer I ? (I extends Instruction ? Omit<I, "source" | "comment"> : never) : never;

/** Every instruction but FROM. Each throws SyntaxFault. */
const PARSERS: Readonly<Record<Instruction["kind"], (line: Line) => Body>> = {
  add: parseAdd,
  arg: (line) => ({ kind: "arg", args: args(line) }),
  cmd: (line) => ({ kind: "cmd", command: commandOf(unflagged(line)) }),
  copy: parseCopy,
  entrypoint: (line) => ({ kind: "entrypoint", command: commandOf(unflagged(line)) }),
  env: (line) => ({ kind: "env", pairs: pairs(line, "ENV") }),
  expose: (line) => ({ kind: "expose", ports: blankSeparated(some(line, "EXPOSE")).sort() }),
  healthcheck,
  label: (line) => ({ kind: "label", pairs: pairs(line, "LABEL") }),
  maintainer: (line) => ({ kind: "maintainer", maintainer: one(line, "MAINTAINER") }),
  onbuild,
  run: parseRun,
  shell: (line) => {
    const shell = jsonStrings(some(line, "SHELL"));
    if (!shell) throw new SyntaxFault("SHELL requires the arguments to be in JSON form", line.rest);
    if (shell.length === 0) throw new SyntaxFault("SHELL requires at least one argument", line.rest);
    return { kind: "shell", shell };
  },
  stopsignal: (line) => ({ kind: "stopsignal", signal: one(line, "STOPSIGNAL") }),
  user: (line) => ({ kind: "user", user: one(line, "USER") }),
  volume: (line) => {
    const text = some(line, "VOLUME");
    const paths = jsonStrings(text) ?? blankSeparated(text);
    if (paths.length === 0) throw new SyntaxFault("VOLUME requires at least one argument");
    if (paths.some((path) => path.trim() === "")) throw new SyntaxFault("VOLUME specified can not be an empty string");
    return { kind: "volume", paths };
  },
  workdir: (line) => ({ kind: "workdir", path: one(line, "WORKDIR") }),
};

/** Upper-case names, as messages have them. */
export const INSTRUCTIONS: readonly string[] = [...Object.keys(PARSERS), "from"].map((name) => name.toUpperCase());

/** What the line says; undefined for a keyword that is no instruction (or FROM). Errors: SyntaxFault. */
export function readInstruction(line: Line): Instruction | undefined {
  const kind = line.keyword.toLowerCase();
  if (!Object.hasOwn(PARSERS, kind)) return undefined;
  const { source, comment } = line;
  const body = PARSERS[kind as Instruction["kind"]](line);
  return { ...body, source, ...(comment === undefined ? {} : { comment }) } as Instruction;
}

function unflagged(line: Line): string {
  readFlags(line.flags, {});
  return line.rest;
}

function some(line: Line, name: string): string {
  const text = unflagged(line);
  if (text === "") throw new SyntaxFault(`${name} requires at least one argument`);
  return text;
}

function one(line: Line, name: string): string {
  const text = unflagged(line);
  if (text === "") throw new SyntaxFault(`${name} requires exactly one argument`);
  return text;
}

function args(line: Line): ArgPair[] {
  return quotedWords(some(line, "ARG"), line.escape).map((word) => {
    const at = word.indexOf("=");
    if (at === 0) throw new SyntaxFault("ARG names can not be blank", word);
    return at < 0 ? { name: word } : { name: word.slice(0, at), value: word.slice(at + 1) };
  });
}

/** `a=b c="d e"`, or the old `name the rest`. */
function pairs(line: Line, name: string): Pair[] {
  const text = some(line, name);
  const words = quotedWords(text, line.escape);
  if (words.length === 0) throw new SyntaxFault(`${name} requires at least one argument`);
  if (isLegacyPair(line)) {
    const [key, value] = cutAtBlank(text);
    if (value === undefined) throw new SyntaxFault(`${name} must have two arguments`, text);
    return [{ name: key, value }];
  }
  return words.map((word) => {
    const at = word.indexOf("=");
    if (at < 0) {
      throw new SyntaxFault(`Syntax error - can't find = in ${quoted(word)}. Must be of the form: name=value`, word);
    }
    if (at === 0) throw new SyntaxFault(`${name} names can not be blank`, word);
    return { name: word.slice(0, at), value: word.slice(at + 1) };
  });
}

/** Whether ENV or LABEL is written as `name value`. */
export function isLegacyPair(line: Line): boolean {
  return quotedWords(line.rest, line.escape)[0]?.includes("=") === false;
}

const HEALTH: Readonly<Record<string, FlagKind>> = {
  interval: "string",
  timeout: "string",
  "start-period": "string",
  "start-interval": "string",
  retries: "string",
};
/** Seconds. */
const SHORTEST = 0.001;

function healthcheck(line: Line): Omit<Healthcheck, "source" | "comment"> {
  if (line.rest === "") throw new SyntaxFault("HEALTHCHECK requires at least one argument");
  const [type, command = ""] = cutAtBlank(line.rest);
  if (type.toUpperCase() === "NONE") {
    if (command !== "") throw new SyntaxFault("HEALTHCHECK NONE takes no arguments", command);
    return { kind: "healthcheck", test: "NONE" };
  }
  const flags = readFlags(line.flags, HEALTH);
  if (type.toUpperCase() !== "CMD") {
    throw new SyntaxFault(`Unknown type ${quoted(type.toUpperCase())} in HEALTHCHECK (try CMD)`, type, "CMD");
  }
  const test = commandOf(command);
  if (test.form === "exec" ? test.args.length === 0 : test.text === "") {
    throw new SyntaxFault("Missing command after HEALTHCHECK CMD");
  }
  const duration = (name: string) => {
    const text = flags.string(name) ?? "";
    const seconds = text === "" ? 0 : text.length > 100 ? undefined : parseDuration(text);
    if (seconds === undefined) throw new SyntaxFault(`time: invalid duration ${quoted(text)}`, text);
    if (seconds !== 0 && seconds < SHORTEST) throw new SyntaxFault(`Interval "${name}" cannot be less than 1ms`, text);
    return seconds === 0 ? undefined : Math.round(seconds * 1e9);
  };
  const retries = flags.string("retries") || "0";
  if (/^-\d+$/.test(retries)) throw new SyntaxFault(`--retries cannot be negative (${retries})`, retries);
  if (!/^\+?\d{1,10}$/.test(retries) || Number(retries) > 0x7fffffff) {
    throw new SyntaxFault(`invalid --retries ${quoted(retries)}: not a number of 32 bits`, retries);
  }
  const times = {
    interval: duration("interval"),
    timeout: duration("timeout"),
    startPeriod: duration("start-period"),
    startInterval: duration("start-interval"),
    retries: Number(retries) || undefined,
  };
  const given = Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined));
  return { kind: "healthcheck", test, ...given };
}

function onbuild(line: Line): Body {
  const [trigger] = cutAtBlank(some(line, "ONBUILD"));
  const name = trigger.toUpperCase();
  if (name === "ONBUILD") throw new SyntaxFault("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", line.rest);
  if (name === "MAINTAINER" || name === "FROM")
    throw new SyntaxFault(`${name} isn't allowed as an ONBUILD trigger`, trigger);
  const bodies = line.heredocs.map((heredoc, i) => `\n${line.bodies[i]}${heredoc.name}`);
  return { kind: "onbuild", trigger: line.rest + bodies.join("") };
}
