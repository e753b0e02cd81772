import { sha256 } from "../base/digest.ts";
import { InroError, invalid, notFound } from "../base/errors.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { originOf } from "../registry/endpoint.ts";
import { PATIENCE } from "../registry/http.ts";
import { parseManifest } from "../registry/manifest.ts";
import { type Artifact, attach, referrers } from "../registry/referrers.ts";
import { type FetchedManifest, MAX_MANIFEST, RegistryError, Repository } from "../registry/repository.ts";
import type { DistributionInspect, ImageReferrers, RegistryManifest } from "../spec/docker-api.ts";
import { type Descriptor, MEDIA, type Platform } from "../spec/oci-image.ts";
import { MAX_CONFIG, parseImageConfig } from "./config.ts";
import type { PullContext } from "./pull.ts";
import { parseReference, withDefaultTag } from "./reference.ts";
import { repositoriesOf } from "./repositories.ts";
import { firstOf } from "./resolve.ts";

export interface AskOptions {
  reference: string;
  auth?: RegistryAuth | undefined;
  signal?: AbortSignal | undefined;
}

/** See Images.distribution. */
export async function distribution(context: PullContext, options: AskOptions): Promise<DistributionInspect> {
  const { fetched, repository } = await ask(context, options);
  const parsed = parseManifest(fetched.bytes, fetched.mediaType);
  if (parsed.kind === "index") {
    const platforms = parsed.index.manifests.flatMap(({ platform }) => (platform ? [platform] : []));
    return { Descriptor: descriptorOf(fetched), Platforms: platforms };
  }
  const { config } = parsed.manifest;
  const isImage = config.mediaType === MEDIA.ociConfig || config.mediaType === MEDIA.dockerConfig;
  const text = isImage ? (await repository.smallBlob(config, MAX_CONFIG, options.signal)).toString() : undefined;
  return { Descriptor: descriptorOf(fetched), Platforms: text === undefined ? [] : [platformOf(text)] };
}

/** See Images.referrers. */
export async function imageReferrers(
  context: PullContext,
  options: AskOptions & { artifactType?: string | undefined },
): Promise<ImageReferrers> {
  const { fetched, repository } = await ask(context, options);
  const { artifactType, signal } = options;
  const found = await referrers(repository, fetched.digest, { artifactType, signal }).catch((error) => {
    throw said(error);
  });
  return { Descriptor: descriptorOf(fetched), Referrers: found };
}

/** See Images.registryManifest. */
export async function registryManifest(context: PullContext, options: AskOptions): Promise<RegistryManifest> {
  const { fetched } = await ask(context, options);
  // Whatever it is, it can be read: artifacts too.
  return { Descriptor: descriptorOf(fetched), Manifest: fetched.bytes.toString("base64") };
}

/** See Images.putRegistryManifest. */
export async function putRegistryManifest(
  { registries, patience = PATIENCE }: PullContext,
  { reference: text, auth, signal, manifest }: AskOptions & { manifest: Buffer },
): Promise<Descriptor> {
  const reference = withDefaultTag(parseReference(text));
  if (manifest.length > MAX_MANIFEST) throw invalid(`manifest is larger than ${MAX_MANIFEST} bytes`);
  const parsed = parseManifest(manifest, "");
  const { mediaType } = parsed.kind === "index" ? parsed.index : parsed.manifest;
  if (mediaType === undefined) throw invalid("invalid image manifest: it has no mediaType");
  const digest = sha256(manifest);
  if (reference.digest !== undefined && reference.digest !== digest) {
    throw invalid(`push ${text}: the manifest is ${digest}`);
  }
  const endpoint = originOf(reference.domain, registries);
  const repository = new Repository(endpoint, reference.path, auth, patience, "pull,push");
  const name = reference.digest ?? reference.tag!;
  await repository.putManifest(manifest, { mediaType, digest }, name, signal).catch((error) => {
    throw said(error);
  });
  return { mediaType, digest, size: manifest.length };
}

/** See Images.attach. */
export async function attachArtifact(
  { registries, patience = PATIENCE }: PullContext,
  { reference: text, auth, signal, subject, artifact }: AskOptions & { subject: string; artifact: Artifact },
): Promise<Descriptor> {
  const { domain, path } = parseReference(text);
  const repository = new Repository(originOf(domain, registries), path, auth, patience, "pull,push");
  try {
    const fetched = await repository.manifest(subject, signal);
    return await attach(repository, descriptorOf(fetched), artifact, signal);
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) {
      throw notFound(`attach to ${text}: its registry has no ${subject}: push the image first`, error);
    }
    throw said(error);
  }
}

async function ask(
  { registries, patience = PATIENCE }: PullContext,
  { reference: text, auth, signal }: AskOptions,
): Promise<{ fetched: FetchedManifest; repository: Repository }> {
  const reference = withDefaultTag(parseReference(text));
  const repositories = repositoriesOf(reference, registries, auth, patience);
  const wanted = reference.digest ?? reference.tag!;
  const { value, from } = await firstOf(repositories, (repository) => repository.manifest(wanted, signal)).catch(
    (error) => {
      throw said(error);
    },
  );
  return { fetched: value, repository: from[0]! };
}

function descriptorOf({ mediaType, digest, bytes }: FetchedManifest): Descriptor {
  return { mediaType, digest, size: bytes.length };
}

function platformOf(text: string): Platform {
  const { architecture, os, variant } = parseImageConfig(text);
  return { architecture, os, ...(variant === undefined ? {} : { variant }) };
}

/** Docker's words: those of the registry. */
function said(error: unknown): unknown {
  if (!(error instanceof RegistryError) || !error.said) return error;
  return new InroError(error.kind, error.said, { cause: error });
}
