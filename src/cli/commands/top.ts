import type { Command } from "../command.ts";
import { stdout } from "../output.ts";
import { align } from "../table.ts";

export const command: Command = {
  usage: "CONTAINER [ps OPTIONS]",
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: "running",
  flags: [],
  examples: [
    ["inro top web", "Its processes"],
    ["inro top web -o pid,rss,cmd", "With columns of ps"],
  ],
  async run({ args, engine }) {
    const [id, ...words] = args as [string, ...string[]];
    const { Titles, Processes } = await engine().topContainer(id, words.length > 0 ? words.join(" ") : undefined);
    await stdout.write(align([Titles, ...(Processes ?? [])].map((cells) => cells.join("\t"))));
    return 0;
  },
};
