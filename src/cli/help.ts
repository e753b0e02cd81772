import type { Command } from "./command.ts";
import { commands, type Entry, groups } from "./commands.ts";
import type { Flag, FlagError } from "./flags.ts";
import { globalFlags } from "./main.ts";

const USAGE = "[OPTIONS] COMMAND [ARG...]";
/** Other names of a group's commands; its help has each command once. */
const OTHER_NAMES = new Set(["list", "remove", "container ps"]);

/** `inro --help`. */
export function overview(): string {
  const sections: [string, Entry[]][] = [
    ["Common Commands", [...commands.values()].filter((entry) => entry.common)],
    ["Commands", [...commands.values()].filter((entry) => !entry.common && !entry.hidden)],
  ];
  const management = `\nManagement Commands:\n${rows([...groups].map(([name, group]) => [name, group.summary]))}`;
  const [common, others] = sections.map(
    ([title, entries]) => `\n${title}:\n${rows(entries.map((e) => [e.name, e.summary]))}`,
  );
  return `Usage:  inro ${USAGE}

Runs containers. \`inro run host\` works at once, without an image.
${common}${management}${others}
Global Options:
${flagRows(globalFlags)}
Run 'inro COMMAND --help' for more information on a command.
`;
}

/** `inro container --help`. */
export function groupHelp(name: string): string {
  const group = groups.get(name)!;
  const entries = [...group.entries]
    .filter(([sub, entry]) => !entry.hidden && !OTHER_NAMES.has(sub) && !OTHER_NAMES.has(`${name} ${sub}`))
    .map(([sub, entry]) => [sub, entry.summary] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `Usage:  inro ${name} COMMAND

${group.summary}

Commands:
${rows(entries)}
Run 'inro ${name} COMMAND --help' for more information on a command.
`;
}

/** `inro run --help`. */
export function commandHelp(name: string, entry: Entry, command: Command): string {
  const usage = command.usage.replaceAll("\n", `\n\t${name} `);
  let text = `Usage:  ${name}${usage ? ` ${usage}` : ""}\n\n${entry.summary}\n`;
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
function usageLines(name: string, usage: string, more = "Run"): string {
  const shown = usage ? ` ${usage.replaceAll("\n", `\n\t${name} `)}` : "";
  return `Usage:  ${name}${shown}\n\n${more} '${name} --help' for more information\n`;
}

/** A wrong option: docker's words, the nearest known one, the usage. */
export async function flagErrorText(
  error: FlagError,
  name = "inro",
  { usage, flags }: Pick<Command, "usage" | "flags"> = { usage: USAGE, flags: globalFlags },
): Promise<string> {
  let hint = "";
  if (error.unknown?.startsWith("--")) {
    const { nearest } = await import("../base/nearest.ts");
    const known = flags.filter((flag) => !flag.hidden).flatMap((flag) => [flag.name, ...(flag.aliases ?? [])]);
    const near = nearest(error.unknown.slice(2), known);
    if (near) hint = `Did you mean --${near}?\n\n`;
  }
  return `${error.message}\n\n${hint}${usageLines(name, usage)}`;
}

/** Too few or too many arguments, in docker's words. */
export function argumentErrorText(name: string, { usage, args: [min, max] }: Command): string {
  const plural = (n: number) => `${n} argument${n === 1 ? "" : "s"}`;
  const [what, more] =
    max === 0
      ? ["accepts no arguments"]
      : min === max
        ? [`requires ${plural(min)}`]
        : max === Number.POSITIVE_INFINITY
          ? [`requires at least ${plural(min)}`, "See"]
          : min === 0
            ? [`requires at most ${plural(max)}`]
            : [`requires at least ${min} and at most ${plural(max)}`];
  return `inro: '${name}' ${what}\n\n${usageLines(name, usage, more)}`;
}

/** A word that is no command; `sub` is the one after a group's. */
export async function unknownCommandText(word: string, sub: string | undefined): Promise<string> {
  const { nearest } = await import("../base/nearest.ts");
  const group = groups.get(word);
  const prefix = group ? `inro ${word}` : "inro";
  const unknown = group ? (sub ?? "") : word;
  const near = nearest(unknown, group ? group.entries.keys() : [...commands.keys(), ...groups.keys()]);
  const hint = near ? `Did you mean '${prefix} ${near}'?\n\n` : "";
  const usage = group ? `Usage:  ${prefix}\n\n` : "";
  return `inro: unknown command: ${prefix} ${unknown}\n\n${hint}${usage}Run '${prefix} --help' for more information\n`;
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
