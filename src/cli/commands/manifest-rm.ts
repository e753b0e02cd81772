import type { Command } from "../command.ts";
import { ManifestLists } from "../manifest-lists.ts";

export const command: Command = {
  usage: "MANIFEST_LIST [MANIFEST_LIST...]",
  args: [1, Number.POSITIVE_INFINITY],
  flags: [],
  description: "Forgets lists that are here; what is at a registry stays.",
  examples: [["inro manifest rm example.org/app:1", "Forget a list"]],
  async run({ args, choice }) {
    const lists = new ManifestLists(choice.directory);
    for (const list of args) lists.remove(list);
    return 0;
  },
};
