import { type Command, ExitError } from "../command.ts";
import { stdout } from "../output.ts";
import { pullImage, splitReference } from "../pull.ts";

export const command: Command = {
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  args: [1, 1],
  flags: [
    { name: "all-tags", short: "a", type: "bool", help: "All tags of the repository" },
    { name: "platform", type: "string", help: "Platform (os/arch[/variant])" },
    { name: "disable-content-trust", type: "bool", hidden: true, help: "" },
    { name: "quiet", short: "q", type: "bool", help: "Print only the name" },
  ],
  examples: [
    ["inro pull alpine", "The tag latest"],
    ["inro pull -a registry.example/app", "All there are"],
    ["inro pull --platform linux/arm64 debian:12", "For another machine"],
  ],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const all = options.bool("all-tags");
    const { fromImage, tag } = splitReference(name);
    if (all && name !== fromImage) throw new ExitError(1, "tag can't be used with --all-tags/-a");
    const quiet = options.bool("quiet");
    if (name === fromImage && !all && !quiet) await stdout.line("Using default tag: latest");
    const platform = options.string("platform") || process.env.DOCKER_DEFAULT_PLATFORM || undefined;
    await pullImage(engine(), { fromImage, platform, ...(all ? {} : { tag }) }, quiet, stdout);
    await stdout.line(canonical(fromImage, all ? undefined : tag));
    return 0;
  },
};

/** The whole name, as `docker.io/library/alpine:latest`; without a tag that of the repository. */
export function canonical(repository: string, tag: string | undefined): string {
  const first = repository.split("/")[0]!;
  const hasHost = repository.includes("/") && (/[.:]/.test(first) || first === "localhost");
  const path = hasHost ? repository : `docker.io/${repository.includes("/") ? repository : `library/${repository}`}`;
  if (tag === undefined) return path;
  return `${path}${/^[a-z0-9]+:[0-9a-f]{32,}$/.test(tag) ? "@" : ":"}${tag}`;
}
