import type { Command } from "../command.ts";
import { refuseTerminal, writeFile } from "../files.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  args: [1, 1],
  completes: "container",
  flags: [{ name: "output", short: "o", type: "string", help: "Write to this file (default: stdout)" }],
  description: "Without what is mounted in it: volumes, binds, tmpfs. `inro import` makes an image of the archive.",
  examples: [
    ["inro export -o web.tar web", "Into a file"],
    ["inro export web | tar t", "Through stdout"],
  ],
  async run({ options, args, engine }) {
    const output = options.string("output");
    if (output === "") refuseTerminal(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
    const response = await engine().exportContainer(args[0]!);
    if (output !== "") await writeFile(output, response.body);
    else for await (const chunk of response.body) await stdout.write(chunk);
    return 0;
  },
};
