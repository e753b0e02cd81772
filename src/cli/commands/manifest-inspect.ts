import type { Command } from "../command.ts";
import { ManifestLists } from "../manifest-lists.ts";
import { fetchManifest, indexType, isIndex } from "../manifests.ts";
import { stdout } from "../output.ts";
import { splitReference } from "../pull.ts";

export const command: Command = {
  usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
  args: [1, 2],
  flags: [
    { name: "verbose", short: "v", type: "bool", help: "Every image with its descriptor" },
    {
      name: "insecure",
      type: "bool",
      help: "The engine decides how registries are spoken to (--insecure-registry)",
      hidden: true,
    },
  ],
  description: "A list that is here, or a manifest at its registry.",
  examples: [["inro manifest inspect debian", "What the registry has"]],
  async run({ options, args, engine, choice }) {
    const [first, second] = args as [string, string?];
    const lists = new ManifestLists(choice.directory);
    const print = (value: unknown) => stdout.line(JSON.stringify(value, null, "\t"));
    const entries = lists.entries(first);
    if (second === undefined && entries.length > 0) {
      const manifests = entries.map(({ Descriptor }) => Descriptor);
      await print(options.bool("verbose") ? entries : { schemaVersion: 2, mediaType: indexType(manifests), manifests });
      return 0;
    }
    const name = second ?? first;
    const own = second === undefined ? undefined : entries.find(({ Ref }) => Ref === second);
    const found = await fetchManifest(engine(), name);
    if (!options.bool("verbose")) {
      await print(found.value);
      return 0;
    }
    const one = (reference: string, descriptor: unknown, value: object) => {
      const isDocker = "mediaType" in value && String(value.mediaType).startsWith("application/vnd.docker.");
      return { Ref: reference, Descriptor: descriptor, [isDocker ? "SchemaV2Manifest" : "OCIManifest"]: value };
    };
    if (!isIndex(found.value)) {
      await print(one(name, own?.Descriptor ?? found.descriptor, found.value));
      return 0;
    }
    const images = [];
    for (const entry of found.value.manifests) {
      const reference = `${splitReference(name).fromImage}@${entry.digest}`;
      images.push(one(reference, entry, (await fetchManifest(engine(), reference)).value));
    }
    await print(images);
    return 0;
  },
};
