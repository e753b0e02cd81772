import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { finder, formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  args: [1, MANY],
  completes: "image",
  flags: [formatFlag, { name: "platform", type: "string", help: "Platform (os/arch[/variant])" }],
  examples: [["inro image inspect -f '{{.Config.Cmd}}' alpine", "One field"]],
  async run({ options, args, engine }) {
    const platform = options.string("platform") || undefined;
    const find = finder((api, name) => api.inspectImage(name, { platform }));
    return inspectAll(engine(), args, [find], options.string("format"), (name) => {
      return `Error response from daemon: No such image: ${name}`;
    });
  },
};
