import { ContextStore, DEFAULT_CONTEXT } from "../../client/contexts.ts";
import { type Command, ExitError } from "../command.ts";
import { updateConfig } from "../config-write.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "CONTEXT [CONTEXT...]",
  args: [1, Number.POSITIVE_INFINITY],
  flags: [
    { name: "force", short: "f", type: "bool", help: "Also the current one, and none that is missing is an error" },
  ],
  examples: [["inro context rm build", "Forget an engine"]],
  async run({ options, args, choice, config }) {
    const store = new ContextStore(choice.directory);
    const force = options.bool("force");
    const errors: string[] = [];
    for (const name of args) {
      try {
        if (name === DEFAULT_CONTEXT) throw new ExitError(1, 'context "default" cannot be removed');
        const exists = store.has(name);
        if (!exists && !force) throw new ExitError(1, `context "${name}" does not exist`);
        const current = name === choice.context;
        if (current && !force) throw new ExitError(1, `context "${name}" is in use, set -f flag to force remove`);
        if (name === config.currentContext) updateConfig(choice.directory, (file) => void delete file.currentContext);
        if (exists) store.remove(name);
        await stdout.line(name);
      } catch (error) {
        if (!(error instanceof ExitError)) throw error;
        errors.push(error.message);
      }
    }
    for (const error of errors) await stderr.line(error);
    return errors.length > 0 ? 1 : 0;
  },
};
