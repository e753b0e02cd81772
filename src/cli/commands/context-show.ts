import type { Command } from "../command.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "",
  args: [0, 0],
  flags: [],
  examples: [["inro context show", "Which engine commands talk to"]],
  async run({ choice }) {
    await stdout.line(choice.context);
    return 0;
  },
};
