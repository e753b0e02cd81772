import { ContextStore, DEFAULT_CONTEXT } from "../../client/contexts.ts";
import type { Command } from "../command.ts";
import { updateConfig } from "../config-write.ts";
import { overridden } from "../context/endpoint-flag.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "CONTEXT",
  args: [1, 1],
  flags: [],
  description: "Commands talk to the engine of this context from now on, docker's too: it is kept in config.json.",
  examples: [["inro context use default", "Back to the machine's own engine"]],
  async run({ args, choice }) {
    const [name] = args as [string];
    if (name !== DEFAULT_CONTEXT) new ContextStore(choice.directory).get(name);
    updateConfig(choice.directory, (config) => {
      if (name === DEFAULT_CONTEXT) delete config.currentContext;
      else config.currentContext = name;
    });
    await stdout.line(name);
    const warning = name === DEFAULT_CONTEXT ? undefined : overridden(JSON.stringify(name));
    if (warning) await stderr.line(warning);
    await stderr.line(`Current context is now "${name}"`);
    return 0;
  },
};
