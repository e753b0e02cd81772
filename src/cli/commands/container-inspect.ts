import type { Command } from "../command.ts";
import { containerObject } from "../container-object.ts";
import { MANY } from "../each.ts";
import { formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "container",
  flags: [formatFlag, { name: "size", short: "s", type: "bool", help: "Sizes" }],
  examples: [["inro container inspect -f '{{.State.Pid}}' web", "One field"]],
  async run({ options, args, engine }) {
    return inspectAll(
      engine(),
      args,
      [(api, name) => containerObject(api, name, options.bool("size"))],
      options.string("format"),
    );
  },
};
