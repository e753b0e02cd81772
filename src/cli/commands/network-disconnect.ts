import type { Command } from "../command.ts";

export const command: Command = {
  usage: "[OPTIONS] NETWORK CONTAINER",
  args: [2, 2],
  completes: "network",
  flags: [{ name: "force", short: "f", type: "bool", help: "Also when the container is in trouble" }],
  examples: [["inro network disconnect app web", "Out of a network, at once"]],
  async run({ options, args, engine }) {
    const [network, container] = args as [string, string];
    await engine().disconnectNetwork(network, { Container: container, Force: options.bool("force") });
    return 0;
  },
};
