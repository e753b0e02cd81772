import type { BuildPruneResponse } from "../../spec/build.ts";
import type { Command } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { parseBytes } from "../create/sizes.ts";
import { pruneFilterFlag, pruneFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { pruned } from "../pruned.ts";

const bytes = (name: string, help: string, aliases: string[] = []) =>
  ({ name, type: "string", value: "bytes", parse: parseBytes, help, aliases }) as const;

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "Also what images share" },
    { ...pruneFilterFlag, help: "Remove only what matches: until, id, type, description, inuse, shared, private" },
    forceFlag,
    bytes("reserved-space", "Keep so much of it", ["keep-storage"]),
    bytes("max-used-space", "Keep so much of it at most"),
    bytes("min-free-space", "Only until so much is free on the disk"),
    { name: "verbose", type: "bool", hidden: true, help: "" },
  ],
  description:
    "Removes what builds have kept: results of steps, contexts, cache mounts. The least recently used goes first.",
  examples: [
    ["inro builder prune -f", "All that no image shares"],
    ["inro builder prune -f --keep-storage 5GB", "But not the newest five gigabytes"],
  ],
  async run(context) {
    const { options, engine } = context;
    const all = options.bool("all");
    if (!options.bool("force")) {
      await confirm(
        all ? "WARNING! This will remove all build cache." : "WARNING! This will remove all dangling build cache.",
      );
    }
    const filters = pruneFilters(context);
    const size = (name: string) => options.value<number>(name);
    const query = {
      all: all || undefined,
      filters: Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined,
      "reserved-space": size("reserved-space"),
      "keep-storage": size("reserved-space"),
      "max-used-space": size("max-used-space"),
      "min-free-space": size("min-free-space"),
    };
    const answer = await engine().json<BuildPruneResponse>("POST", "/build/prune", { query });
    await stdout.write(pruned("Deleted build cache objects:", answer.CachesDeleted ?? [], answer.SpaceReclaimed));
    return 0;
  },
};
