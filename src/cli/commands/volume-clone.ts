import type { Command } from "../command.ts";
import { labels } from "../create/environment.ts";
import { liveFlag } from "../live.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] VOLUME NEW",
  args: [2, 2],
  completes: "volume",
  flags: [{ name: "label", type: "list", help: "Label (key=value)" }, liveFlag],
  description: "Makes a volume with what is in another one, or in a snapshot, now.",
  examples: [["inro volume clone data data-test", "A copy to try something on"]],
  async run({ options, args, engine }) {
    const [volume, name] = args;
    const body = { Name: name, Labels: labels([], options.list("label")) };
    const { Name } = await engine().changeVolume(volume!, "clone", body, { live: options.bool("live") });
    await stdout.line(Name);
    return 0;
  },
};
