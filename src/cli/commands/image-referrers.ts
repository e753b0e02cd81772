import type { ImageReferrers } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { formatRows } from "../table.ts";

const COLUMNS = "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}";
const HEADERS = { Digest: "DIGEST", ArtifactType: "ARTIFACT TYPE", Size: "SIZE", MediaType: "MEDIA TYPE" };

export const command: Command = {
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  args: [1, 1],
  completes: "image",
  flags: [
    { name: "artifact-type", type: "string", value: "type", help: "Only of this type" },
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
  ],
  description: "Signatures, attestations and other things that have an image as their subject (OCI referrers).",
  examples: [["inro image referrers registry.example.org/base:3", "What is attached to this tag's manifest"]],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const auth = await engine().registryAuth(name);
    const { Referrers } = await engine().json<ImageReferrers>(
      "GET",
      `/inro/distribution/${name.split("/").map(encodeURIComponent).join("/")}/referrers`,
      {
        query: { artifactType: options.string("artifact-type") || undefined },
        headers: auth ? { "X-Registry-Auth": auth } : {},
      },
    );
    const rows = Referrers.map(({ digest, artifactType = "", size, mediaType }) => ({
      Digest: digest,
      ArtifactType: artifactType,
      Size: humanSize(size),
      MediaType: mediaType,
    }));
    await stdout.write(formatRows(options.string("format"), COLUMNS, rows, HEADERS));
    return 0;
  },
};
