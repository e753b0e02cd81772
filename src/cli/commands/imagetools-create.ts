import { readFileSync } from "node:fs";
import type { Engine } from "../../client/engine.ts";
import type { Descriptor, Index } from "../../spec/oci-image.ts";
import { type Command, ExitError } from "../command.ts";
import {
  copyInto,
  type Found,
  fetchManifest,
  indexType,
  isIndex,
  parsePlatform,
  platformOf,
  platformText,
  putManifest,
  putManifestText,
} from "../manifests.ts";
import { stderr, stdout } from "../output.ts";
import { splitReference } from "../pull.ts";

export const command: Command = {
  usage: "[OPTIONS] SOURCE [SOURCE...]",
  args: [0, Number.POSITIVE_INFINITY],
  flags: [
    { name: "tag", short: "t", type: "list", value: "name", help: "Name of the new image; may repeat" },
    { name: "annotation", type: "list", value: "key=value", help: "Annotation of the index; may repeat" },
    { name: "append", type: "bool", help: "Add to what the name has already" },
    { name: "dry-run", type: "bool", help: "Print the index, and push nothing" },
    {
      name: "file",
      short: "f",
      type: "list",
      value: "file",
      completes: "file",
      help: "Read sources from a file; may repeat",
    },
    { name: "platform", short: "p", type: "list", help: "Only these platforms; may repeat" },
    { name: "prefer-index", type: "bool", default: "true", help: "An index also of one source that is none" },
    { name: "progress", type: "string", hidden: true, help: "" },
    { name: "builder", type: "string", hidden: true, help: "" },
  ],
  description: `Makes an image of several platforms out of images at registries, without pulling them. Sources in other repositories
are copied, or mounted where that is the same registry.`,
  examples: [
    ["inro imagetools create -t example.org/app:1 example.org/app:1-amd64 example.org/app:1-arm64", "An index of both"],
    ["inro imagetools create -t example.org/app:stable example.org/app:1", "Another name"],
  ],
  async run({ options, args, engine }) {
    const targets = options.list("tag");
    const dry = options.bool("dry-run");
    if (targets.length === 0 && !dry)
      throw new ExitError(1, "can't push with no tags specified, please set --tag or --dry-run");
    const sources = [...args, ...options.list("file").flatMap(sourcesOf)];
    if (options.bool("append")) sources.unshift(...targets.slice(0, 1));
    if (sources.length === 0) throw new ExitError(1, "no sources specified");
    const annotations = Object.fromEntries(options.list("annotation").map(annotation));
    const found = await Promise.all(sources.map((source) => fetchManifest(engine(), source)));
    const whole = found.length === 1 && options.list("platform").length === 0 && Object.keys(annotations).length === 0;
    const preferIndex = !options.has("prefer-index") || options.bool("prefer-index");
    if (whole && (isIndex(found[0]!.value) || !preferIndex)) {
      if (dry) await stdout.line(found[0]!.text);
      else for (const target of targets) await push(engine(), target, [found[0]!], found[0]!.value);
      return 0;
    }
    const wanted = options
      .list("platform")
      .flatMap((text) => text.split(","))
      .map((text) => platformText(parsePlatform(text)));
    const entries = new Map<string, { source: Found; entry: Descriptor }>();
    for (const source of found) {
      for (const entry of await entriesOf(engine(), source)) {
        if (wanted.length > 0 && !wanted.includes(entry.platform ? platformText(entry.platform) : "")) continue;
        // The last of a platform counts, as of a name.
        const kind = entry.annotations?.["vnd.docker.reference.digest"];
        const key = kind || !entry.platform ? entry.digest : platformText(entry.platform);
        entries.set(key, { source, entry });
      }
    }
    if (entries.size === 0) throw new ExitError(1, "no source has such a platform");
    const manifests = [...entries.values()].map(({ entry }) => entry);
    const index: Index = {
      schemaVersion: 2,
      mediaType: Object.keys(annotations).length > 0 ? "application/vnd.oci.image.index.v1+json" : indexType(manifests),
      manifests,
      ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    };
    if (dry) {
      await stdout.line(JSON.stringify(index, null, 2));
      return 0;
    }
    for (const target of targets) {
      const parts = [...entries.values()].map(({ source, entry }) => ({ ...source, descriptor: entry }));
      await push(engine(), target, parts, index);
    }
    return 0;
  },
};

async function push(engine: Engine, target: string, parts: Found[], value: Found["value"]): Promise<void> {
  for (const { reference, descriptor } of parts) await copyInto(engine, reference, descriptor.digest, target);
  // A single one that is there already keeps its bytes: another name for them.
  const same = parts.length === 1 && parts[0]!.value === value;
  const { digest } = same
    ? await putManifestText(engine, target, parts[0]!.text)
    : await putManifest(engine, target, value);
  await stderr.line(`pushed ${digest} to ${target}`);
}

async function entriesOf(engine: Engine, { reference, descriptor, value }: Found): Promise<Descriptor[]> {
  if (isIndex(value)) return value.manifests;
  const { fromImage } = splitReference(reference);
  const platform = await platformOf(engine, `${fromImage}@${descriptor.digest}`);
  const { mediaType, digest, size } = descriptor;
  return [{ mediaType, digest, size, ...(platform ? { platform } : {}) }];
}

function sourcesOf(file: string): string[] {
  const text = readFileSync(file, "utf8").trim();
  if (!text.startsWith("{")) return [text];
  throw new ExitError(1, `${file}: descriptors are not supported: name the source`);
}

function annotation(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new ExitError(1, `invalid annotation ${JSON.stringify(text)}: key=value`);
  return [text.slice(0, equals).replace(/^index:/, ""), text.slice(equals + 1)];
}
