import type { Command } from "./command.ts";
import { commands, type Entry, groups } from "./commands.ts";
import type { Flag, FlagError } from "./flags.ts";
import { globalFlags } from "./main.ts";

/** `inro --help`. */
export function overview(): string {
  const sections: [string, Entry[]][] = [
    ["Common Commands", [...commands.values()].filter((entry) => entry.common)],
    ["Commands", [...commands.values()].filter((entry) => !entry.common && !entry.hidden)],
  ];
  let text = "Usage:  inro [OPTIONS] COMMAND\n\nRuns containers. `inro run host` works at once, without an image.\n";
  for (const [title, entries] of sections) text += `\n${title}:\n${rows(entries.map((e) => [e.name, e.summary]))}`;
  text += `\nManagement Commands:\n${rows([...groups].map(([name, group]) => [name, group.summary]))}`;
  text += `\nGlobal Options:\n${flagRows(globalFlags)}`;
  return `${text}\nRun 'inro COMMAND --help' for more information on a command.\n`;
}

/** `inro container --help`. */
export function groupHelp(name: string): string {
  const group = groups.get(name)!;
  const entries = [...group.entries].map(([sub, entry]) => [sub, entry.summary] as [string, string]);
  return `Usage:  inro ${name} COMMAND\n\n${group.summary}\n\nCommands:\n${rows(entries)}\nRun 'inro ${name} COMMAND --help' for more information on a command.\n`;
}

/** `inro run --help`. */
export function commandHelp(name: string, entry: Entry, command: Command): string {
  let text = `Usage:  ${name}${command.usage ? ` ${command.usage}` : ""}\n\n${entry.summary}\n`;
  if (command.description) text += `\n${command.description.trim()}\n`;
  const others = aliases(entry).filter((other) => other !== name);
  if (others.length > 0) text += `\nAliases:\n  ${[name, ...others].join(", ")}\n`;
  if (command.flags.some((flag) => !flag.hidden)) text += `\nOptions:\n${flagRows(command.flags)}`;
  if (command.examples?.length) {
    text += `\nExamples:\n${command.examples.map(([line, what]) => `  # ${what}\n  ${line}\n`).join("\n")}`;
  }
  return text;
}

/** The usage lines below an error. */
function usageLines(name: string, command: Command): string {
  return `Usage:  ${name}${command.usage ? ` ${command.usage}` : ""}\n\nRun '${name} --help' for more information\n`;
}

/** A wrong option: its error, the nearest known one, the usage. */
export async function flagErrorText(error: FlagError, name: string, command: Command): Promise<string> {
  let message = error.message;
  if (error.unknown?.startsWith("--")) {
    const { nearest } = await import("../base/nearest.ts");
    const known = command.flags.filter((flag) => !flag.hidden).map((flag) => flag.name);
    const near = nearest(error.unknown.slice(2), known);
    if (near) message += ` (did you mean --${near}?)`;
  }
  return `${message}\n\n${usageLines(name, command)}`;
}

export function argumentErrorText(name: string, command: Command, got: number): string {
  const [min, max] = command.args;
  const plural = (n: number) => `${n} argument${n === 1 ? "" : "s"}`;
  let what: string;
  if (max === 0) what = "accepts no arguments";
  else if (min === max) what = `requires ${plural(min)}`;
  else if (got < min) what = `requires at least ${plural(min)}`;
  else what = `requires at most ${plural(max)}`;
  return `inro: '${name}' ${what}\n\n${usageLines(name, command)}`;
}

export async function unknownCommandText(word: string, sub: string | undefined): Promise<string> {
  const { nearest } = await import("../base/nearest.ts");
  const group = groups.get(word);
  const path = group && sub !== undefined ? `inro ${word} ${sub}` : `inro ${word}`;
  const near = group
    ? nearest(sub ?? "", [...group.entries.keys()])
    : nearest(word, [...commands.keys(), ...groups.keys()]);
  const prefix = group ? `inro ${word}` : "inro";
  const hint = near ? ` (did you mean '${prefix} ${near}'?)` : "";
  return `inro: unknown command: ${path}${hint}\n\nRun '${prefix} --help' for more information\n`;
}

function aliases(entry: Entry): string[] {
  const names: string[] = [];
  for (const [name, other] of commands) if (other.load === entry.load) names.push(`inro ${name}`);
  for (const [word, group] of groups) {
    for (const [name, other] of group.entries) if (other.load === entry.load) names.push(`inro ${word} ${name}`);
  }
  return names;
}

function rows(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length)) + 2;
  return entries.map(([name, summary]) => `  ${name.padEnd(width)}${summary}\n`).join("");
}

function flagRows(flags: readonly Flag[]): string {
  const shown = flags.filter((flag) => !flag.hidden).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const left = shown.map((flag) => {
    const value = flag.type === "bool" ? "" : ` ${flag.value ?? flag.type}`;
    return `  ${flag.short ? `-${flag.short},` : "   "} --${flag.name}${value}`;
  });
  const width = Math.max(0, ...left.map((text) => text.length)) + 3;
  return shown
    .map((flag, i) => `${left[i]!.padEnd(width)}${flag.help}${flag.default ? ` (default ${flag.default})` : ""}\n`)
    .join("");
}
