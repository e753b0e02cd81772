import type { Command } from "../command.ts";
import { forEachName, MANY } from "../each.ts";

export const command: Command = {
  usage: "CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "running",
  flags: [],
  description: "Prints one exit code per container, in order. A stopped container's is printed at once.",
  examples: [["inro wait web", "Wait for its end"]],
  async run({ args, engine }) {
    const api = engine();
    return forEachName(args, async (name) => {
      const { result } = await api.waitContainer(name);
      const { StatusCode, Error: failure } = await result;
      if (failure?.Message) throw new Error(failure.Message);
      return String(StatusCode);
    });
  },
};
