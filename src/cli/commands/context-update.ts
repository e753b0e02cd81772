import { ContextStore, checkContextName } from "../../client/contexts.ts";
import type { Command } from "../command.ts";
import { descriptionFlag, dockerFlag, endpointFlag } from "../context/endpoint-flag.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTEXT",
  args: [1, 1],
  flags: [descriptionFlag, dockerFlag],
  description: "What is not said stays; --docker says all of the endpoint.",
  examples: [["inro context update prod --description 'the one that counts'", "Other words"]],
  async run({ options, args, choice }) {
    const [name] = args as [string];
    checkContextName(name);
    const store = new ContextStore(choice.directory);
    const old = store.get(name);
    store.put({
      ...old,
      ...(options.has("description") ? { description: options.string("description") } : {}),
      ...(options.has("docker") ? endpointFlag(options.list("docker"), store, choice) : {}),
    });
    await stdout.line(name);
    await stderr.line(`Successfully updated context "${name}"`);
    return 0;
  },
};
