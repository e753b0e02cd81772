import type { Command } from "../command.ts";
import { splitReference } from "../pull.ts";

export const command: Command = {
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  args: [2, 2],
  completes: "image",
  flags: [],
  examples: [["inro tag alpine registry.example.org/base:3", "Another name for the same image"]],
  async run({ args, engine }) {
    const { fromImage, tag } = splitReference(args[1]!);
    await engine().tagImage(args[0]!, fromImage, tag);
    return 0;
  },
};
