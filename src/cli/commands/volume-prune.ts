import type { Command } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { pruneFilterFlag, pruneFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { pruned } from "../pruned.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "Named volumes too, not only anonymous ones" },
    { ...pruneFilterFlag, help: "Remove only what matches: label, label! (key=value)" },
    forceFlag,
  ],
  description: "Removes the volumes that no container mounts.",
  examples: [
    ["inro volume prune", "Anonymous volumes"],
    ["inro volume prune -af --filter label!=keep", "All but those with a label, without asking"],
  ],
  async run(context) {
    const { options, engine } = context;
    const all = options.bool("all");
    const filters = pruneFilters(context);
    if (all) filters.all = ["true"];
    if (!options.bool("force")) {
      const which = all ? "all local volumes" : "anonymous local volumes";
      await confirm(`WARNING! This will remove ${which} not used by at least one container.`);
    }
    const { VolumesDeleted, SpaceReclaimed } = await engine().pruneVolumes(filters);
    await stdout.write(pruned("Deleted Volumes:", VolumesDeleted ?? [], SpaceReclaimed));
    return 0;
  },
};
