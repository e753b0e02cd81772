import { isStatus } from "../../client/api-error.ts";
import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  args: [1, MANY],
  completes: "network",
  flags: [{ name: "force", short: "f", type: "bool", help: "A missing network is no error" }],
  description: "Removes networks. One that a running container is in stays.",
  examples: [["inro network rm app", "Remove a network"]],
  async run({ options, args, engine }) {
    const api = engine();
    let status = 0;
    for (const name of args) {
      try {
        await api.removeNetwork(name);
        await stdout.line(name);
      } catch (error) {
        if (error instanceof BrokenPipe) throw error;
        if (options.bool("force") && isStatus(error, 404)) continue;
        status = 1;
        await stderr.line(errorText(error));
      }
    }
    return status;
  },
};
