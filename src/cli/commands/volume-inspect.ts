import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  args: [1, MANY],
  completes: "volume",
  flags: [formatFlag],
  examples: [["inro volume inspect -f '{{.Mountpoint}}' data", "Where its files are"]],
  async run({ options, args, engine }) {
    return inspectAll(engine(), args, [(api, name) => api.inspectVolume(name)], options.string("format"));
  },
};
