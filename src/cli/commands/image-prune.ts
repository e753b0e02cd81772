import type { Command } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { pruneFilterFlag, pruneFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { imageLines, pruned } from "../pruned.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "All that no container uses, not only those without a name" },
    { ...pruneFilterFlag, help: "Remove only what matches: until, label, label! (key=value)" },
    forceFlag,
  ],
  description: "Removes images without a name.",
  examples: [
    ["inro image prune", "Images that have lost their names"],
    ["inro image prune -af --filter until=720h", "All unused ones that are older than 30 days, without asking"],
  ],
  async run(context) {
    const { options, engine } = context;
    const all = options.bool("all");
    const filters = { ...pruneFilters(context), dangling: [String(!all)] };
    if (!options.bool("force")) {
      const which = all ? "all images without at least one container associated to them" : "all dangling images";
      await confirm(`WARNING! This will remove ${which}.`);
    }
    const { ImagesDeleted, SpaceReclaimed } = await engine().pruneImages(filters);
    await stdout.write(pruned("Deleted Images:", imageLines(ImagesDeleted ?? []), SpaceReclaimed));
    return 0;
  },
};
