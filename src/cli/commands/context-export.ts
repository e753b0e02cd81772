import { existsSync } from "node:fs";
import { ContextStore } from "../../client/contexts.ts";
import { type Command, ExitError } from "../command.ts";
import { packContext } from "../context/archive.ts";
import { named } from "../context/endpoint-flag.ts";
import { refuseTerminal, writeFile } from "../files.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "CONTEXT [FILE|-]",
  args: [1, 2],
  flags: [],
  description:
    "A tar for `context import`, also docker's. It holds the private key: whoever has it may use the engine.",
  examples: [["inro context export prod", "To prod.dockercontext"]],
  async run({ args, choice }) {
    const [name, file = `${name}.dockercontext`] = args as [string, string?];
    const context = named(name, new ContextStore(choice.directory), choice);
    if (file === "-") {
      refuseTerminal(1, "cowardly refusing to export to a terminal, specify a file path");
      for await (const chunk of packContext(context)) await stdout.write(chunk);
      return 0;
    }
    if (existsSync(file)) throw new ExitError(1, `open ${file}: file exists`);
    await writeFile(file, packContext(context));
    await stderr.line(`Written file "${file}"`);
    return 0;
  },
};
