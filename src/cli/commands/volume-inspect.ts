import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { finder, formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  args: [1, MANY],
  completes: "volume",
  flags: [formatFlag],
  examples: [["inro volume inspect -f '{{.Mountpoint}}' data", "Where its files are"]],
  async run({ options, args, engine }) {
    const find = finder((api, name) => api.inspectVolume(name));
    return inspectAll(engine(), args, [find], options.string("format"), (name) => {
      return `Error response from daemon: get ${name}: no such volume`;
    });
  },
};
