import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { refuseTerminal, writeFile } from "../files.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  args: [1, MANY],
  completes: "image",
  flags: [
    { name: "output", short: "o", type: "string", help: "Write to this file (default: stdout)" },
    { name: "platform", type: "list", help: "Only this platform (os/arch[/variant])" },
  ],
  examples: [
    ["inro save -o images.tar alpine debian:12", "Into a file"],
    ["inro save alpine | gzip > alpine.tar.gz", "Through stdout"],
  ],
  async run({ options, args, engine }) {
    const output = options.string("output");
    if (output === "") refuseTerminal(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
    const query = options.has("platform") ? { platform: options.list("platform") } : {};
    const response = await engine().saveImages(args, query);
    if (output !== "") await writeFile(output, response.body);
    else for await (const chunk of response.body) await stdout.write(chunk);
    return 0;
  },
};
