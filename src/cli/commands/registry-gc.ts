import type { Command } from "../command.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "data", type: "string", value: "directory", completes: "file", help: "The registry's directory" },
    { name: "delete-untagged", short: "m", type: "bool", help: "Also images that have no tag" },
    { name: "dry-run", short: "d", type: "bool", help: "Only say what would go" },
  ],
  description: `Removes blobs that no image in a registry's directory needs. No registry may be using it meanwhile: a push
that has sent its blobs, and not yet its manifest, would lose them.`,
  examples: [
    ["inro registry gc --dry-run", "See what would go"],
    ["inro registry gc --delete-untagged", "Keep only what has a tag"],
  ],
  async run({ options, doors }) {
    return await doors.registry({
      kind: "gc",
      data: options.has("data") ? options.string("data") : undefined,
      untagged: options.bool("delete-untagged"),
      dryRun: options.bool("dry-run"),
    });
  },
};
