import { type Command, ExitError } from "../command.ts";
import { ManifestLists } from "../manifest-lists.ts";
import { fetchManifest, isIndex, platformOf } from "../manifests.ts";
import { stdout } from "../output.ts";
import { splitReference } from "../pull.ts";

export const command: Command = {
  usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
  args: [2, Number.POSITIVE_INFINITY],
  flags: [
    { name: "amend", short: "a", type: "bool", help: "Add to a list that is there" },
    {
      name: "insecure",
      type: "bool",
      help: "The engine decides how registries are spoken to (--insecure-registry)",
      hidden: true,
    },
  ],
  description: `Puts a list of images for several platforms together, here; "inro manifest push" sends it. "inro imagetools
create" does both at once.`,
  examples: [
    ["inro manifest create example.org/app:1 example.org/app:1-amd64 example.org/app:1-arm64", "A list of two"],
  ],
  async run({ options, args, engine, choice }) {
    const [list, ...names] = args as [string, ...string[]];
    const lists = new ManifestLists(choice.directory);
    if (lists.has(list) && !options.bool("amend")) {
      throw new ExitError(1, "refusing to amend an existing manifest list with no --amend flag");
    }
    const entries = [];
    for (const name of names) {
      const { descriptor, value } = await fetchManifest(engine(), name);
      if (isIndex(value)) throw new ExitError(1, `${name} is a manifest list`);
      const platform = await platformOf(engine(), `${splitReference(name).fromImage}@${descriptor.digest}`);
      const { mediaType, digest, size } = descriptor;
      entries.push({ Ref: name, Descriptor: { mediaType, digest, size, ...(platform ? { platform } : {}) } });
    }
    for (const entry of entries) lists.put(list, entry);
    await stdout.line(`Created manifest list ${list}`);
    return 0;
  },
};
