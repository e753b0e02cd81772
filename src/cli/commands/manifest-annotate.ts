import { type Command, ExitError } from "../command.ts";
import { ManifestLists } from "../manifest-lists.ts";

export const command: Command = {
  usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
  args: [2, 2],
  flags: [
    { name: "arch", type: "string", help: "Architecture, such as arm64" },
    { name: "os", type: "string", help: "Operating system" },
    { name: "os-features", type: "list", help: "Features of it that the image needs; may repeat" },
    { name: "os-version", type: "string", help: "Its version" },
    { name: "variant", type: "string", help: "Variant of the architecture, such as v7" },
  ],
  description: "Says what an image in a list is for, where its own configuration does not.",
  examples: [["inro manifest annotate --arch arm --variant v7 example.org/app:1 example.org/app:1-arm", "For ARMv7"]],
  async run({ options, args, choice }) {
    const [list, name] = args as [string, string];
    const lists = new ManifestLists(choice.directory);
    const entry = lists.entries(list).find(({ Ref }) => Ref === name);
    if (!entry) throw new ExitError(1, `manifest for image ${name} does not exist in ${list}`);
    const platform = entry.Descriptor.platform ?? { os: "", architecture: "" };
    if (options.has("arch")) platform.architecture = options.string("arch");
    if (options.has("os")) platform.os = options.string("os");
    if (options.has("variant")) platform.variant = options.string("variant");
    if (options.has("os-version")) platform["os.version"] = options.string("os-version");
    if (options.has("os-features")) {
      platform["os.features"] = options.list("os-features").flatMap((text) => text.split(","));
    }
    if (platform.os === "" || platform.architecture === "") {
      throw new ExitError(1, `${name}: operating system and architecture must be known: --os and --arch`);
    }
    entry.Descriptor.platform = platform;
    lists.put(list, entry);
    return 0;
  },
};
