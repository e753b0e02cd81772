import type { Command } from "../command.ts";

export const command: Command = {
  usage: "VOLUME NEW",
  args: [2, 2],
  completes: "volume",
  flags: [],
  description: "The containers that mount it, running or not, know it under its new name.",
  examples: [["inro volume rename data data-old", "Make room for another one"]],
  async run({ args, engine }) {
    await engine().changeVolume(args[0]!, "rename", { Name: args[1] });
    return 0;
  },
};
