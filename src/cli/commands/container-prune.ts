import type { Command } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { pruneFilterFlag, pruneFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { pruned } from "../pruned.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [{ ...pruneFilterFlag, help: "Remove only what matches: until, label, label! (key=value)" }, forceFlag],
  description: "Removes the containers that do not run.",
  examples: [["inro container prune -f --filter until=24h", "Older ones, without asking"]],
  async run(context) {
    const { options, engine } = context;
    const filters = pruneFilters(context);
    if (!options.bool("force")) {
      await confirm("WARNING! This will remove all stopped containers.");
    }
    const { ContainersDeleted, SpaceReclaimed } = await engine().pruneContainers(filters);
    await stdout.write(pruned("Deleted Containers:", ContainersDeleted ?? [], SpaceReclaimed));
    return 0;
  },
};
