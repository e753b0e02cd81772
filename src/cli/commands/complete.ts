import type { Engine } from "../../client/engine.ts";
import type { Command } from "../command.ts";
import { commands, groups } from "../commands.ts";
import type { Completes, Flag } from "../flags.ts";
import { globalFlags } from "../main.ts";
import { stdout } from "../output.ts";

/** `inro __complete WORDS…`: candidates for the last word, a line each. */
export const command: Command = {
  usage: "",
  args: [0, Number.POSITIVE_INFINITY],
  interspersed: false,
  flags: [],
  async run({ args, engine }) {
    // The shell's words begin with what may look like an option; none is ours.
    const found = await candidates(args, engine);
    await stdout.write(found.map((word) => `${word}\n`).join(""));
    return 0;
  },
};

/** What may stand in place of the last word. */
export async function candidates(words: readonly string[], engine: () => Engine): Promise<string[]> {
  const current = words.at(-1) ?? "";
  const before = joined(words.slice(0, -1));
  // A shell that cuts words at = leaves the flag before it, or the = itself as the word to complete.
  const cut = current === "=" ? before : before.at(-1) === "=" ? before.slice(0, -1) : undefined;
  const text = current === "=" ? "" : current;
  if (cut) return matching(await valuesOf(cut.at(-1) ?? "", cut.slice(0, -1), engine), text);
  const equals = /^(--[\w-]+=)(.*)$/.exec(current);
  if (equals) {
    const [, flag = "", value = ""] = equals;
    return matching(await valuesOf(flag.slice(0, -1), before, engine), value).map((one) => flag + one);
  }
  const { chosen, flags, args } = await place(before);
  const waiting = takesNext(before.at(-1) ?? "", flags);
  if (waiting) return matching(await values(waiting, engine), current);
  if (Array.isArray(chosen)) return matching(current.startsWith("-") ? flagNames(flags) : chosen, current);
  if (!chosen) return [];
  const over = chosen.interspersed === false && args > 0;
  if (current.startsWith("-") && !over) return matching(flagNames(flags), current);
  // What follows the image or the container is a command of its own.
  if (over || args >= chosen.args[1]) return [];
  return matching(await objects(chosen.completes, engine), current);
}

/** Where the words lead: a command and how many arguments it has so far, or the names that may follow. */
async function place(
  before: readonly string[],
): Promise<{ chosen?: Command | string[]; flags: readonly Flag[]; args: number }> {
  const rest = [...before];
  while (rest[0]?.startsWith("-")) if (takesNext(rest.shift()!, globalFlags)) rest.shift();
  if (rest[0] === "help") rest.shift();
  const [first, second] = rest;
  if (first === undefined) {
    const names = [...commands.values()].filter(({ hidden }) => !hidden).map(({ name }) => name);
    return { chosen: [...names, ...groups.keys()], flags: globalFlags, args: 0 };
  }
  const group = groups.get(first);
  if (group && second === undefined) return { chosen: [...group.entries.keys()], flags: [], args: 0 };
  const entry = group ? group.entries.get(second!) : commands.get(first);
  if (!entry) return { flags: [], args: 0 };
  const { command: chosen } = await entry.load();
  let args = 0;
  const words = rest.slice(group ? 2 : 1);
  for (let at = 0; at < words.length; at++) {
    if (!words[at]!.startsWith("-")) args++;
    else if (takesNext(words[at]!, chosen.flags)) at++;
    if (args > 0 && chosen.interspersed === false) break;
  }
  return { chosen, flags: chosen.flags, args };
}

/** The flag of `word`, when its value is the next word. */
function takesNext(word: string, flags: readonly Flag[]): Flag | undefined {
  if (word.includes("=")) return undefined;
  const flag = word.startsWith("--")
    ? flags.find(({ name, aliases }) => word === `--${name}` || aliases?.includes(word.slice(2)))
    : flags.find(({ short }) => /^-\w+$/.test(word) && word.at(-1) === short);
  return flag && flag.type !== "bool" ? flag : undefined;
}

async function valuesOf(word: string, before: readonly string[], engine: () => Engine): Promise<string[]> {
  const flag = takesNext(word, (await place(before)).flags);
  return flag ? values(flag, engine) : [];
}

async function values({ choices, completes }: Flag, engine: () => Engine): Promise<string[]> {
  return [...(choices ?? []), ...(await objects(completes, engine))];
}

/** `--flag`, `=`, `value` of a shell that cuts words at = as one word again. */
function joined(words: readonly string[]): string[] {
  const whole: string[] = [];
  words.forEach((word, i) => {
    const last = whole.at(-1);
    if (i < words.length - 1 && word === "=" && last?.startsWith("--")) whole[whole.length - 1] = `${last}=`;
    else if (last?.startsWith("--") && last.endsWith("=")) whole[whole.length - 1] = last + word;
    else whole.push(word);
  });
  return whole;
}

const matching = (list: Iterable<string>, start: string) =>
  [...new Set(list)].filter((word) => word.startsWith(start)).toSorted();

function flagNames(flags: readonly Flag[]): string[] {
  return [...flags.filter((flag) => !flag.hidden).map((flag) => `--${flag.name}`), "--help"];
}

async function objects(kind: Completes | undefined, engine: () => Engine): Promise<string[]> {
  try {
    if (kind === "container" || kind === "running") {
      const containers = await engine().listContainers({ all: kind === "container" });
      return containers.flatMap((container) => container.Names.map((name) => name.replace(/^\//, "")));
    }
    if (kind === "volume") return (await engine().listVolumes()).map(({ Name }) => Name);
    if (kind === "network") {
      return (await engine().json<{ Name: string }[]>("GET", "/networks")).map(({ Name }) => Name);
    }
    if (kind === "image") {
      const images = await engine().listImages();
      return ["host", ...images.flatMap((image) => image.RepoTags ?? [])];
    }
  } catch {
    // Completion stays silent without an engine.
  }
  return [];
}
