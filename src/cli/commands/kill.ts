import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";
import { SIGNALS } from "../stop-options.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: [
    {
      name: "signal",
      short: "s",
      type: "string",
      choices: SIGNALS,
      default: "SIGKILL",
      help: "Signal, by name or number",
    },
  ],
  examples: [
    ["inro kill web", "End it at once"],
    ["inro kill -s HUP web", "Send a signal to its first process"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    return forEachName(args, (name) => api.killContainer(name, options.string("signal") || undefined));
  },
};
