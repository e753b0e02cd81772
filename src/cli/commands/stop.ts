import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";
import { stopFlags, stopQuery } from "../stop-options.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: stopFlags,
  examples: [["inro stop -t 2 web", "Ask it to end, kill it after two seconds"]],
  async run({ options, args, engine }) {
    const api = engine();
    const query = stopQuery(options);
    return forEachName(args, (name) => api.stopContainer(name, query));
  },
};
