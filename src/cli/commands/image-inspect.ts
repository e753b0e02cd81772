import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  args: [1, MANY],
  completes: "image",
  flags: [formatFlag, { name: "platform", type: "string", help: "Platform (os/arch[/variant])" }],
  examples: [["inro image inspect -f '{{.Config.Cmd}}' alpine", "One field"]],
  async run({ options, args, engine }) {
    const platform = options.string("platform") || undefined;
    return inspectAll(engine(), args, [(api, name) => api.inspectImage(name, { platform })], options.string("format"));
  },
};
