import { type Command, ExitError } from "../command.ts";

export const command: Command = {
  usage: "[OPTIONS] [VOLUME]",
  args: [1, 1],
  completes: "volume",
  flags: [{ name: "availability", type: "string", default: "active", help: "active, pause or drain" }],
  description: "Only cluster volumes can be changed, and inro has none.",
  async run({ args, engine }) {
    await engine().inspectVolume(args[0]!);
    throw new ExitError(1, "can only update cluster volumes");
  },
};
