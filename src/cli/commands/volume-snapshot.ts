import type { Command } from "../command.ts";
import { labels } from "../create/environment.ts";
import { liveFlag } from "../live.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] VOLUME [SNAPSHOT]",
  args: [1, 2],
  completes: "volume",
  flags: [{ name: "label", type: "list", help: "Label (key=value)" }, liveFlag],
  description:
    "A snapshot is a volume that nobody can write to; it takes no space of its own where the file system can share blocks (btrfs, XFS). Its name is printed.",
  examples: [
    ["inro volume snapshot data", "Named after the volume and the time"],
    ["inro volume snapshot data before-upgrade", "With a name"],
    ["inro volume ls --filter label=inro.snapshot-of=data", "All of them"],
    ["inro volume restore data before-upgrade", "And back"],
  ],
  async run({ options, args, engine }) {
    const [volume, name = ""] = args;
    const body = { Name: name, Labels: labels([], options.list("label")) };
    const { Name } = await engine().changeVolume(volume!, "snapshot", body, { live: options.bool("live") });
    await stdout.line(Name);
    return 0;
  },
};
