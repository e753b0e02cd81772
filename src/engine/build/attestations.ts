import { sha256 } from "../../base/digest.ts";
import { IN_TOTO } from "../../build/attest/attestation.ts";
import { sbom } from "../../build/attest/command.ts";
import {
  type BuildFacts,
  provenance,
  SLSA_PROVENANCE,
  SPDX_PREDICATE,
  statement,
} from "../../build/attest/provenance.ts";
import type { BuildResult, BuiltImage } from "../../build/builder.ts";
import type { ContentStore } from "../../content/store.ts";
import { formatPlatform } from "../../images/platform.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import type { BuildAttestations, BuildBody } from "../../spec/build-stream.ts";
import type { Context } from "../context.ts";

/** What a build was told, as far as its provenance has it. */
export type ToldOf = Pick<BuildBody, "dockerfileName" | "target" | "args" | "labels">;

/** One image of a build that is still open, so that its layers are here. */
export interface Attested {
  readonly image: BuiltImage;
  readonly materials: BuildResult["materials"];
  readonly content: Pick<ContentStore, "path">;
}

export interface AttestOptions {
  /** The whole name without tag, and the manifest's digest at its registry. */
  readonly reference: string;
  readonly digest: string;
  readonly auth: RegistryAuth | undefined;
  readonly wanted: BuildAttestations;
  readonly told: ToldOf;
}

/**
 * Attaches in-toto statements to a pushed image, each as a referrer: equal builds have equal ones. Rejects as a push does.
 */
export async function attest(
  { images }: Context,
  built: Attested,
  { reference, digest, auth, wanted, told }: AttestOptions,
  signal: AbortSignal,
): Promise<void> {
  const attach = async (predicateType: string, predicate: object) => {
    const data = Buffer.from(JSON.stringify(statement([{ name: reference, digest }], predicateType, predicate)));
    const annotations = { "in-toto.io/predicate-type": predicateType };
    const artifact = { artifactType: IN_TOTO, annotations, blobs: [{ mediaType: IN_TOTO, data, annotations }] };
    await images.attach({ reference: `${reference}@${digest}`, auth, signal, subject: digest, artifact });
  };
  if (wanted.provenance) await attach(SLSA_PROVENANCE, provenance(factsOf(images, built, told), wanted.provenance));
  if (!wanted.sbom) return;
  const { config, layers } = built.image;
  const files = layers.map(({ diffId, blob }) => ({ diffId, path: built.content.path(blob.digest) }));
  const { created = EPOCH } = JSON.parse(config) as { created?: string };
  const subject = { name: reference, digest: sha256(config), created };
  await attach(SPDX_PREDICATE, JSON.parse(await sbom(files, { format: "spdx", subject }, signal)));
}

const EPOCH = "1970-01-01T00:00:00Z";

function factsOf(images: Context["images"], { materials, image }: Attested, told: ToldOf): BuildFacts {
  const { dockerfileName, target, args, labels } = told;
  const platform = formatPlatform(image.platform);
  return {
    dockerfile: dockerfileName,
    platform,
    ...(target === undefined ? {} : { target }),
    args,
    labels,
    materials: materials.map((material) => {
      if ("uri" in material) return material;
      const { digest } = images.manifest(material.id);
      return { uri: packageUrl(material.reference, platform), digest: { sha256: digest.slice("sha256:".length) } };
    }),
  };
}

/** Of an image's whole name (package-url's type `docker`). */
function packageUrl(name: string, platform: string): string {
  const [, repository = name, tag] = /^(.*?)(?::([^:/]+))?(?:@.*)?$/.exec(name) ?? [];
  const version = tag === undefined ? "" : `@${encodeURIComponent(tag)}`;
  return `pkg:docker/${repository}${version}?platform=${encodeURIComponent(platform)}`;
}
