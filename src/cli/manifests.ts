import type { Engine } from "../client/engine.ts";
import { jsonStream } from "../client/json-stream.ts";
import type { DistributionInspect, RegistryManifest, StreamMessage } from "../spec/docker-api.ts";
import { type Descriptor, type Index, type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";
import { ExitError } from "./command.ts";
import { splitReference } from "./pull.ts";

/** A manifest or index at a registry. */
export interface Found {
  reference: string;
  descriptor: Descriptor;
  /** As it is stored. */
  text: string;
  value: Manifest | Index;
}

const pathOf = (reference: string) =>
  `/inro/distribution/${reference.split("/").map(encodeURIComponent).join("/")}/manifest`;

async function headers(engine: Engine, reference: string): Promise<Record<string, string>> {
  const auth = await engine.registryAuth(splitReference(reference).fromImage);
  return auth ? { "X-Registry-Auth": auth } : {};
}

export async function fetchManifest(engine: Engine, reference: string): Promise<Found> {
  const found = await engine.json<RegistryManifest>("GET", pathOf(reference), {
    headers: await headers(engine, reference),
  });
  const text = Buffer.from(found.Manifest, "base64").toString();
  return { reference, descriptor: found.Descriptor, text, value: JSON.parse(text) };
}

/** Pushes it; its descriptor. */
export const putManifest = (engine: Engine, reference: string, value: Manifest | Index): Promise<Descriptor> =>
  putManifestText(engine, reference, JSON.stringify(value));

/** As {@link putManifest}, with these very bytes. */
export async function putManifestText(engine: Engine, reference: string, text: string): Promise<Descriptor> {
  return await engine.json("PUT", pathOf(reference), {
    headers: await headers(engine, reference),
    stream: (async function* () {
      yield Buffer.from(text);
    })(),
  });
}

/** Of an image that is no index: what its configuration says. */
export async function platformOf(engine: Engine, reference: string): Promise<Platform | undefined> {
  const path = `/distribution/${reference.split("/").map(encodeURIComponent).join("/")}/json`;
  const { Platforms } = await engine.json<DistributionInspect>("GET", path, {
    headers: await headers(engine, reference),
  });
  return Platforms[0];
}

/** Copies a manifest, with all that it needs, into the repository of `target`. */
export async function copyInto(engine: Engine, reference: string, digest: string, target: string): Promise<void> {
  const [source, repository] = [splitReference(reference).fromImage, splitReference(target).fromImage];
  if (source === repository) return;
  const [auth, targetAuth] = [await engine.registryAuth(source), await engine.registryAuth(repository)];
  const response = await engine.transport.request({
    method: "POST",
    path: "/inro/images/copy",
    query: { source: `${source}@${digest}`, target: `${repository}@${digest}` },
    headers: {
      ...(auth ? { "X-Registry-Auth": auth } : {}),
      ...(targetAuth ? { "X-Registry-Auth-Target": targetAuth } : {}),
    },
  });
  for await (const message of jsonStream<StreamMessage>(response.body)) {
    if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
  }
}

export const isIndex = (value: Manifest | Index): value is Index =>
  "manifests" in value && Array.isArray(value.manifests);

/** The media type of an index of these: docker's where all of them are. */
export function indexType(entries: readonly Descriptor[]): string {
  const docker = entries.length > 0 && entries.every(({ mediaType }) => mediaType === MEDIA.dockerManifest);
  return docker ? MEDIA.dockerList : MEDIA.ociIndex;
}

export function platformText({ os, architecture, variant, "os.version": version }: Platform): string {
  return [version ? `${os}(${version})` : os, architecture, variant].filter(Boolean).join("/");
}

export function parsePlatform(text: string): Platform {
  const [os = "", architecture = "", variant, ...rest] = text.split("/");
  if (os === "" || architecture === "" || rest.length > 0) {
    throw new ExitError(1, `invalid platform ${JSON.stringify(text)}: os/architecture[/variant]`);
  }
  return { os, architecture, ...(variant ? { variant } : {}) };
}
