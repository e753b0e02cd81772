import { type Command, ExitError } from "../command.ts";
import { ManifestLists } from "../manifest-lists.ts";
import { copyInto, indexType, putManifest } from "../manifests.ts";
import { stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] MANIFEST_LIST",
  args: [1, 1],
  flags: [
    { name: "purge", short: "p", type: "bool", help: "Remove the list here when it is pushed" },
    {
      name: "insecure",
      type: "bool",
      help: "The engine decides how registries are spoken to (--insecure-registry)",
      hidden: true,
    },
  ],
  description: "Sends a list to its registry, with images that are in other repositories.",
  examples: [["inro manifest push -p example.org/app:1", "Send it, and forget it here"]],
  async run({ options, args, engine, choice }) {
    const [list] = args as [string];
    const lists = new ManifestLists(choice.directory);
    const entries = lists.entries(list);
    if (entries.length === 0) throw new ExitError(1, `No such manifest: ${list}`);
    for (const { Ref, Descriptor } of entries) {
      const { os = "", architecture = "" } = Descriptor.platform ?? {};
      if (os === "" || architecture === "") {
        throw new ExitError(1, `${Ref}: nobody says which platform it is for: inro manifest annotate --os --arch`);
      }
    }
    for (const { Ref, Descriptor } of entries) await copyInto(engine(), Ref, Descriptor.digest, list);
    const manifests = entries.map(({ Descriptor }) => Descriptor);
    const value = { schemaVersion: 2 as const, mediaType: indexType(manifests), manifests };
    const { digest } = await putManifest(engine(), list, value);
    await stdout.line(digest);
    if (options.bool("purge")) lists.remove(list);
    return 0;
  },
};
