import { isStatus } from "../../client/api-error.ts";
import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  args: [1, MANY],
  completes: "image",
  flags: [
    { name: "force", short: "f", type: "bool", help: "Also with several names, or used by stopped containers" },
    { name: "no-prune", type: "bool", help: "Keep untagged parents" },
    { name: "platform", type: "list", help: "Only this platform (os/arch[/variant])" },
  ],
  examples: [
    ["inro rmi alpine", "Remove a name, and the image when it was the last one"],
    ["inro rmi $(inro images -q --filter dangling=true)", "Remove what has no name"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    const force = options.bool("force");
    let status = 0;
    for (const name of args) {
      try {
        const removed = await api.removeImage(name, {
          force,
          noprune: options.bool("no-prune"),
          ...(options.has("platform") ? { platforms: options.list("platform") } : {}),
        });
        for (const { Untagged, Deleted } of removed) {
          await stdout.line(Deleted ? `Deleted: ${Deleted}` : `Untagged: ${Untagged}`);
        }
      } catch (error) {
        if (error instanceof BrokenPipe) throw error;
        if (!(force && isStatus(error, 404))) status = 1;
        await stderr.line(errorText(error));
      }
    }
    return status;
  },
};
