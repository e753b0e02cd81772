import type { Command } from "../command.ts";
import { eraseCredentials, registryKey } from "../credentials.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[SERVER]",
  args: [0, 1],
  flags: [],
  description: "Without a server it is Docker Hub. Forgets the credentials, in config.json and in its helper.",
  examples: [["inro logout registry.example.org", "One registry"]],
  async run({ args, config, choice }) {
    const registry = registryKey(args[0] ?? "");
    if (!(await eraseCredentials(choice.directory, config, registry))) {
      await stdout.line(`Not logged in to ${registry}`);
      return 0;
    }
    await stdout.line(`Removing login credentials for ${registry}`);
    return 0;
  },
};
