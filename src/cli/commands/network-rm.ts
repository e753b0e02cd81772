import { isStatus } from "../../client/api-error.ts";
import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  args: [1, MANY],
  completes: "network",
  flags: [{ name: "force", short: "f", type: "bool", help: "A missing network is no error" }],
  description: "Removes networks. One that a running container is in stays.",
  examples: [["inro network rm app", "Remove a network"]],
  async run({ options, args, engine }) {
    const api = engine();
    const force = options.bool("force");
    return forEachName(args, (name) => api.removeNetwork(name), { pass: (error) => force && isStatus(error, 404) });
  },
};
