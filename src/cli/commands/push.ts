import { jsonStream } from "../../client/json-stream.ts";
import type { StreamMessage } from "../../spec/docker-api.ts";
import { type Command, ExitError } from "../command.ts";
import { stdout } from "../output.ts";
import { showProgress } from "../progress.ts";
import { splitReference } from "../pull.ts";
import { canonical } from "./pull.ts";

const NOBODY = Buffer.from("{}").toString("base64url");

export const command: Command = {
  usage: "[OPTIONS] NAME[:TAG]",
  args: [1, 1],
  completes: "image",
  flags: [
    { name: "all-tags", short: "a", type: "bool", help: "All tags of the repository" },
    { name: "platform", type: "string", help: "Only this platform (os/arch[/variant])" },
    {
      name: "compression",
      type: "string",
      choices: ["gzip", "zstd"],
      help: "Of layers made here: gzip or zstd (gzip)",
    },
    { name: "disable-content-trust", type: "bool", hidden: true, help: "" },
    { name: "quiet", short: "q", type: "bool", help: "Print only the name" },
  ],
  examples: [["inro push registry.example.org/base:3", "Upload an image under its own name"]],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const { fromImage, tag } = splitReference(name);
    const all = options.bool("all-tags");
    if (all && name !== fromImage) throw new ExitError(1, "tag can't be used with --all-tags/-a");
    const quiet = options.bool("quiet");
    if (!all && name === fromImage && !quiet) await stdout.line("Using default tag: latest");
    const response = await engine().transport.request({
      method: "POST",
      path: `/images/${fromImage.split("/").map(encodeURIComponent).join("/")}/push`,
      query: {
        tag: all ? undefined : tag,
        platform: options.string("platform") || undefined,
        compression: options.string("compression") || undefined,
      },
      // Engines want the header, also without a login.
      headers: { "X-Registry-Auth": (await engine().registryAuth(fromImage)) ?? NOBODY },
    });
    const messages = jsonStream<StreamMessage>(response.body);
    if (!quiet) await showProgress(messages, stdout);
    else {
      for await (const message of messages) {
        if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
      }
      await stdout.line(canonical(fromImage, all ? undefined : tag));
    }
    return 0;
  },
};
