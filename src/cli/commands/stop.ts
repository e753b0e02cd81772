import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: [
    { name: "signal", short: "s", type: "string", help: "Signal to send (default: the container's, SIGTERM)" },
    {
      name: "timeout",
      aliases: ["time"],
      short: "t",
      type: "int",
      help: "Seconds to wait before killing; -1 waits forever",
    },
  ],
  examples: [["inro stop -t 2 web", "Ask it to end, kill it after two seconds"]],
  async run({ options, args, engine }) {
    const api = engine();
    const query = { t: options.number("timeout"), signal: options.string("signal") || undefined };
    return forEachName(args, (name) => api.stopContainer(name, query));
  },
};
