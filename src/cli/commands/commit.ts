import type { Command } from "../command.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  args: [1, 2],
  completes: "container",
  flags: [
    { name: "author", short: "a", type: "string", help: 'Who made it ("Name <mail@host>")' },
    { name: "change", short: "c", type: "list", help: 'Set what a Dockerfile sets (CMD ["sh"])' },
    { name: "message", short: "m", type: "string", help: "Comment of the new layer" },
    { name: "no-pause", type: "bool", help: "Do not pause the container meanwhile" },
    { name: "pause", short: "p", type: "bool", help: "Pause it (the default)", hidden: true },
  ],
  description: `
The image is the container's with one layer more: what the container changed. Volumes and binds
are not in it. --change takes CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL,
STOPSIGNAL, USER, VOLUME and WORKDIR.`,
  examples: [
    ["inro commit web web:patched", "With the container's own config"],
    ["inro commit -c 'CMD [\"nginx\"]' -c 'ENV A=1' -m fixed web web:2", "With changes to it"],
  ],
  async run({ options, args, engine }) {
    const [container, reference = ""] = args as [string, string?];
    const colon = reference.lastIndexOf(":") > reference.lastIndexOf("/") ? reference.lastIndexOf(":") : -1;
    const pause = options.has("pause") ? options.bool("pause") : !options.bool("no-pause");
    const id = await engine().commitContainer({
      container,
      pause,
      ...(reference ? { repo: colon < 0 ? reference : reference.slice(0, colon) } : {}),
      ...(colon >= 0 ? { tag: reference.slice(colon + 1) } : {}),
      ...(options.has("message") ? { comment: options.string("message") } : {}),
      ...(options.has("author") ? { author: options.string("author") } : {}),
      ...(options.has("change") ? { changes: options.list("change") } : {}),
    });
    await stdout.line(id);
    return 0;
  },
};
