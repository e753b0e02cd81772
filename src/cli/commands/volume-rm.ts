import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  args: [1, MANY],
  completes: "volume",
  flags: [{ name: "force", short: "f", type: "bool", help: "A missing volume is no error" }],
  description: "Removes volumes with all that is in them. One that a container mounts, running or not, stays.",
  examples: [["inro volume rm data", "Remove a volume"]],
  async run({ options, args, engine }) {
    const api = engine();
    return forEachName(args, async (name) => {
      await api.removeVolume(name, { force: options.bool("force") });
      return name;
    });
  },
};
