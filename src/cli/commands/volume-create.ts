import { type Command, ExitError } from "../command.ts";
import { labels, toMap } from "../create/environment.ts";
import type { Flag } from "../flags.ts";
import { stdout } from "../output.ts";

/** Options of Swarm's volumes. */
const CLUSTER = [
  ...["availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing"],
  ...["topology-preferred", "topology-required", "type"],
];

export const command: Command = {
  usage: "[OPTIONS] [VOLUME]",
  args: [0, 1],
  flags: [
    { name: "driver", short: "d", type: "string", default: "local", help: "Volume driver" },
    { name: "label", type: "list", help: "Label (key=value)" },
    { name: "opt", short: "o", type: "list", help: "Option of the driver: type, device, o, size (key=value)" },
    { name: "name", type: "string", help: "Name of the volume", hidden: true },
    ...CLUSTER.map((name): Flag => ({ name, type: "list", help: "", hidden: true })),
  ],
  description:
    "Without a name it is an anonymous volume. The local driver's options say what to mount in place of a directory, in the words of mount(8).",
  examples: [
    ["inro volume create data", "A directory"],
    ["inro volume create -o type=tmpfs -o device=tmpfs -o o=size=64m,uid=1000 scratch", "Memory, shared by who runs"],
    ["inro volume create -o type=none -o o=bind -o device=/srv/data data", "A directory of the host"],
    ["inro volume create -o type=nfs -o o=addr=10.0.0.1,rw -o device=:/export share", "A network file system"],
  ],
  async run({ options, args, engine }) {
    const cluster = CLUSTER.find((flag) => options.has(flag));
    if (cluster) throw new ExitError(1, `--${cluster} is for cluster volumes, which are not supported`);
    const name = options.string("name");
    if (name !== "" && args[0] !== undefined) {
      throw new ExitError(
        1,
        "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
      );
    }
    const { Name } = await engine().createVolume({
      Name: args[0] ?? name,
      Driver: options.string("driver") || "local",
      DriverOpts: toMap(options.list("opt")),
      Labels: labels([], options.list("label")),
    });
    await stdout.line(Name);
    return 0;
  },
};
