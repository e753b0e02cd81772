import type { Engine } from "../../client/engine.ts";
import type { Command } from "../command.ts";
import { commands, groups } from "../commands.ts";
import type { Flag } from "../flags.ts";
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
  const before = words.slice(0, -1);
  const matching = (list: Iterable<string>) => [...list].filter((word) => word.startsWith(current)).toSorted();
  const [first, second] = before;
  if (first === undefined) {
    if (current.startsWith("-")) return matching(flagNames(globalFlags));
    return matching([...commands.keys(), ...groups.keys()].filter((name) => !name.startsWith("_")));
  }
  const group = groups.get(first);
  if (group && second === undefined) return matching(group.entries.keys());
  const entry = group ? group.entries.get(second!) : commands.get(first);
  if (!entry) return [];
  const { command: chosen } = await entry.load();
  const previous = before.at(-1)!;
  const flag = chosen.flags.find((one) => previous === `--${one.name}` || (one.short && previous === `-${one.short}`));
  if (flag && flag.type !== "bool") return matching(flag.choices ?? []);
  if (current.startsWith("-")) return matching(flagNames(chosen.flags));
  return matching(await objects(chosen.completes, engine));
}

function flagNames(flags: readonly Flag[]): string[] {
  return flags.filter((flag) => !flag.hidden).map((flag) => `--${flag.name}`);
}

async function objects(kind: Command["completes"], engine: () => Engine): Promise<string[]> {
  try {
    if (kind === "container" || kind === "running") {
      const containers = await engine().listContainers({ all: kind === "container" });
      return containers.flatMap((container) => container.Names.map((name) => name.replace(/^\//, "")));
    }
    if (kind === "volume") return (await engine().listVolumes()).map(({ Name }) => Name);
    if (kind === "image") {
      const images = await engine().listImages();
      return ["host", ...images.flatMap((image) => image.RepoTags ?? [])];
    }
  } catch {
    // Completion stays silent without an engine.
  }
  return [];
}
