import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: [],
  examples: [["inro unpause web", "Thaw all its processes"]],
  async run({ args, engine }) {
    const api = engine();
    return forEachName(args, (name) => api.unpauseContainer(name));
  },
};
