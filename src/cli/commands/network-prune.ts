import type { Command } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { filterFlag, pruneFilters } from "../filters.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [{ ...filterFlag, short: "", help: "Remove only what matches: until, label, label! (key=value)" }, forceFlag],
  description: "Removes the networks that no container is in, running or not.",
  examples: [["inro network prune -f --filter until=24h", "Those of yesterday and before, without asking"]],
  async run(context) {
    const { options, engine } = context;
    if (!options.bool("force")) {
      await confirm("WARNING! This will remove all custom networks not used by at least one container.");
    }
    const { NetworksDeleted } = await engine().pruneNetworks(pruneFilters(context));
    if (NetworksDeleted?.length) {
      await stdout.write(`Deleted Networks:\n${NetworksDeleted.map((name) => `${name}\n`).join("")}\n`);
    }
    return 0;
  },
};
