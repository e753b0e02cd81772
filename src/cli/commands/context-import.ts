import { ContextStore, checkContextName } from "../../client/contexts.ts";
import { parseEndpoint } from "../../client/endpoint.ts";
import { type Command, ExitError } from "../command.ts";
import { unpackContext } from "../context/archive.ts";
import { fileStream } from "../files.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "CONTEXT FILE|-",
  args: [2, 2],
  flags: [],
  completes: "file",
  description: "Reads the tar of `context export`. Docker's zip files are not supported.",
  examples: [["inro context import prod prod.dockercontext", "What another machine has exported"]],
  async run({ args, choice }) {
    const [name, file] = args as [string, string];
    checkContextName(name);
    const store = new ContextStore(choice.directory);
    if (store.has(name)) throw new ExitError(1, `context "${name}" already exists`);
    const context = await unpackContext(fileStream(file));
    parseEndpoint(context.host);
    store.put({ ...context, name });
    await stdout.line(name);
    await stderr.line(`Successfully imported context "${name}"`);
    return 0;
  },
};
