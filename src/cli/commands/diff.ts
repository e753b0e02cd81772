import type { Command } from "../command.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "CONTAINER",
  args: [1, 1],
  completes: "container",
  flags: [],
  description: "A: added, C: changed, D: deleted.",
  examples: [["inro diff web", "What it has written"]],
  async run({ args, engine }) {
    const changes = (await engine().changes(args[0]!)) ?? [];
    await stdout.write(changes.map(({ Kind, Path }) => `${"CAD"[Kind]} ${Path}\n`).join(""));
    return 0;
  },
};
