import type { Command } from "../command.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "VOLUME SNAPSHOT",
  args: [2, 2],
  completes: "volume",
  flags: [],
  description:
    "Replaces what is in a volume by what a snapshot (or another volume) has; the snapshot stays. No container may run with it meanwhile.",
  examples: [["inro volume restore data before-upgrade", "What came since is gone"]],
  async run({ args, engine }) {
    const { Name } = await engine().changeVolume(args[0]!, "restore", { Snapshot: args[1] });
    await stdout.line(Name);
    return 0;
  },
};
