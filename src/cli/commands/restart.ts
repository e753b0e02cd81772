import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";
import { stopFlags, stopQuery } from "../stop-options.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: stopFlags,
  examples: [["inro restart web", "Stop it and start it again"]],
  async run({ options, args, engine }) {
    const api = engine();
    const query = stopQuery(options);
    return forEachName(args, (name) => api.restartContainer(name, query));
  },
};
