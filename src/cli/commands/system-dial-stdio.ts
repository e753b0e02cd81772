import type { Command } from "../command.ts";
import { stdout } from "../output.ts";
import { readStdin } from "../terminal.ts";

export const command: Command = {
  usage: "",
  args: [0, 0],
  flags: [],
  description: "Joins stdin and stdout with the engine's socket, each direction by itself. ssh:// endpoints run it.",
  async run({ engine }) {
    const connection = await engine().transport.open();
    const sending = (async () => {
      try {
        for await (const chunk of readStdin(false)) await connection.write(chunk);
        connection.end();
      } catch {
        // The engine has closed; what it said last is still to be read.
      }
    })();
    for (let chunk = await connection.read(); chunk; chunk = await connection.read()) await stdout.write(chunk);
    connection.close();
    // Nobody hears what else comes in.
    void sending;
    return 0;
  },
};
