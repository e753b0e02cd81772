import type { Command } from "../command.ts";

export const command: Command = {
  usage: "CONTAINER NEW_NAME",
  args: [2, 2],
  completes: "container",
  flags: [],
  examples: [["inro rename web old-web", "Give it another name"]],
  async run({ args, engine }) {
    await engine().renameContainer(args[0]!, args[1]!);
    return 0;
  },
};
