import { MARSHAL } from "../../base/template/functions.ts";
import type { Descriptor } from "../../spec/oci-image.ts";
import { type Command, ExitError } from "../command.ts";
import { printable } from "../explore/screen.ts";
import { type Found, fetchManifest, isIndex, platformText } from "../manifests.ts";
import { stdout } from "../output.ts";
import { splitReference } from "../pull.ts";

export const command: Command = {
  usage: "[OPTIONS] NAME",
  args: [1, 1],
  flags: [
    { name: "raw", type: "bool", help: "The manifest as the registry has it" },
    { name: "format", type: "string", help: "Go template over .Name and .Manifest, or json" },
    { name: "builder", type: "string", hidden: true, help: "" },
  ],
  description: "What an image is at its registry, without pulling it.",
  examples: [
    ["inro imagetools inspect debian", "Its digest and platforms"],
    ["inro imagetools inspect --raw debian", "The index itself"],
  ],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    if (options.bool("raw") && options.has("format")) throw new ExitError(1, "format and raw cannot be used together");
    const found = await fetchManifest(engine(), name);
    if (options.bool("raw")) {
      await stdout.write(found.text);
      return 0;
    }
    const format = options.string("format");
    const { descriptor, value } = found;
    const data = {
      Name: name,
      Manifest: { ...value, mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size },
    };
    if (format === "json" || format === "{{json .}}") await stdout.line(JSON.stringify(lowerKeys(data), null, 2));
    else if (format !== "") await stdout.line(await template(format, data));
    else await stdout.write(text(found));
    return 0;
  },
};

const lowerKeys = ({ Name, Manifest }: { Name: string; Manifest: object }) => ({ name: Name, manifest: Manifest });

async function template(format: string, data: { Name: string; Manifest: Record<string, unknown> & object }) {
  const { compileTemplate, TemplateError } = await import("../../base/template/template.ts");
  const { digest, mediaType, size, manifests } = data.Manifest as Record<string, unknown>;
  const manifest = Object.defineProperty(
    { Digest: digest, MediaType: mediaType, Size: size, Manifests: manifests ?? [] },
    MARSHAL,
    { value: () => JSON.stringify(data.Manifest, null, 2), enumerable: false },
  );
  try {
    return compileTemplate(format)({ Name: data.Name, Manifest: manifest });
  } catch (error) {
    if (error instanceof TemplateError) throw new ExitError(1, error.message);
    throw error;
  }
}

function text({ reference, descriptor, value }: Found): string {
  const { fromImage } = splitReference(reference);
  const lines = [`Name:      ${reference}`, `MediaType: ${descriptor.mediaType}`, `Digest:    ${descriptor.digest}`];
  if (isIndex(value)) {
    lines.push("           ", "Manifests: ");
    for (const entry of value.manifests) lines.push(...entryLines(fromImage, entry), "");
  }
  return lines.map((line) => `${printable(line)}\n`).join("");
}

function entryLines(
  repository: string,
  { mediaType, digest, platform, annotations = {}, artifactType }: Descriptor,
): string[] {
  const pairs = Object.entries(annotations);
  return [
    `  Name:        ${repository}@${digest}`,
    `  MediaType:   ${mediaType}`,
    ...(artifactType ? [`  ArtifactType: ${artifactType}`] : []),
    ...(platform ? [`  Platform:    ${platformText(platform)}`] : []),
    ...(pairs.length > 0 ? ["  Annotations: ", ...pairs.map(([key, value]) => `    ${key}: ${value}`)] : []),
  ];
}
