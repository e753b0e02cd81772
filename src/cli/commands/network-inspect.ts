import type { Command } from "../command.ts";
import { MANY } from "../each.ts";
import { formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  args: [1, MANY],
  completes: "network",
  flags: [formatFlag, { name: "verbose", short: "v", type: "bool", help: "More, in a swarm alone" }],
  examples: [
    ["inro network inspect bridge", "Everything about a network, with the containers in it"],
    ["inro network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' app", "Its subnets"],
  ],
  async run({ options, args, engine }) {
    return inspectAll(engine(), args, [(api, name) => api.inspectNetwork(name)], options.string("format"));
  },
};
