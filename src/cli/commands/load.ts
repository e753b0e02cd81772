import { type Command, ExitError } from "../command.ts";
import { fileStream, refuseTerminal } from "../files.ts";
import { stdout } from "../output.ts";
import { showProgress } from "../progress.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "input", short: "i", type: "string", help: "Read from this file (default: stdin)" },
    { name: "platform", type: "list", help: "Only this platform (os/arch[/variant])" },
    { name: "quiet", short: "q", type: "bool", help: "No progress" },
  ],
  examples: [
    ["inro load -i images.tar", "From a file"],
    ["zstdcat images.tar.zst | inro load", "From stdin"],
  ],
  async run({ options, engine }) {
    const input = options.string("input") || "-";
    if (input === "-") refuseTerminal(0, "requested load from stdin, but stdin is empty");
    const quiet = options.bool("quiet");
    const messages = engine().loadImages(fileStream(input), {
      quiet,
      ...(options.has("platform") ? { platform: options.list("platform") } : {}),
    });
    if (!quiet) {
      await showProgress(messages, stdout);
      return 0;
    }
    for await (const message of messages) {
      if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
      if (message.stream) await stdout.write(message.stream);
    }
    return 0;
  },
};
