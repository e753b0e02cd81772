import { type Command, ExitError } from "../command.ts";
import { bodyOf, createContainer } from "../create/container.ts";
import { createFlags } from "../create/flags.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: createFlags,
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: "image",
  description: "Prints the id of the new container; `inro start` starts it. The options are those of `inro run`.",
  examples: [
    ["inro create --name web -m 256m host sleep 60", "Prepare a container"],
    ["inro start -a web", "Start it and see its output"],
  ],
  async run(context) {
    const { options, engine } = context;
    const body = bodyOf(context, "create");
    try {
      await stdout.line((await createContainer(engine(), options, body)).Id);
    } catch (error) {
      if (error instanceof ExitError || error instanceof BrokenPipe) throw error;
      throw new ExitError(1, errorText(error));
    }
    return 0;
  },
};
