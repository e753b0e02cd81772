import { isStatus } from "../../client/api-error.ts";
import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "container",
  flags: [
    { name: "force", short: "f", type: "bool", help: "Kill what runs; a missing container is no error" },
    { name: "link", short: "l", type: "bool", help: "Remove the link", hidden: true },
    { name: "volumes", short: "v", type: "bool", help: "Remove its anonymous volumes" },
  ],
  examples: [
    ["inro rm web", "Remove a stopped container"],
    ["inro rm -fv $(inro ps -aq)", "Remove everything"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    const force = options.bool("force");
    const remove = async (name: string) => {
      const id = name.replace(/^\/+/, "");
      await api.removeContainer(id, { force, v: options.bool("volumes"), link: options.bool("link") });
    };
    return forEachName(args, remove, { forgive: (error) => force && isStatus(error, 404) });
  },
};
