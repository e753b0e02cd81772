import type { Command } from "../command.ts";
import { ExitError } from "../command.ts";
import { fileStream } from "../files.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  args: [1, 2],
  completes: "file",
  flags: [
    { name: "change", short: "c", type: "list", help: 'Set what a Dockerfile sets (CMD ["sh"])' },
    { name: "message", short: "m", type: "string", help: "Comment of the image" },
    { name: "platform", type: "string", help: "Platform (os/arch[/variant])" },
  ],
  examples: [
    ["inro import rootfs.tar.gz base:1", "From a file"],
    ["tar c -C rootfs . | inro import -c 'CMD [\"sh\"]' - base", "From stdin"],
  ],
  async run({ options, args, engine }) {
    const [source, reference = ""] = args as [string, string?];
    const remote = /^https?:\/\//.test(source);
    const colon = reference.lastIndexOf(":") > reference.lastIndexOf("/") ? reference.lastIndexOf(":") : -1;
    const query = {
      fromSrc: remote ? source : "-",
      ...(reference ? { repo: colon < 0 ? reference : reference.slice(0, colon) } : {}),
      ...(colon >= 0 ? { tag: reference.slice(colon + 1) } : {}),
      ...(options.has("message") ? { message: options.string("message") } : {}),
      ...(options.has("change") ? { changes: options.list("change") } : {}),
      ...(options.has("platform") ? { platform: options.string("platform") } : {}),
    };
    for await (const message of engine().importImage(query, remote ? undefined : fileStream(source))) {
      if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
      if (message.status && !message.progressDetail?.current) await stdout.line(message.status);
    }
    return 0;
  },
};
