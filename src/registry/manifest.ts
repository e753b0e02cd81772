import { isDigest } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { type Descriptor, type Index, type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";

export type ParsedManifest = { kind: "index"; index: Index } | { kind: "manifest"; manifest: Manifest };

const MAX_LAYERS = 500;
const MAX_INDEX_ENTRIES = 10_000;
const SCHEMA1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/;

/**
 * Reads an image manifest or index (image-spec manifest.md, image-index.md; Docker schema 2) and checks every field that
 * inro uses. `mediaType` is what the descriptor or Content-Type says; "" for unknown. Errors are invalid.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): ParsedManifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid("invalid image manifest: not JSON", error);
  }
  const root = object(value, "image manifest");
  if (SCHEMA1.test(mediaType) || root.schemaVersion === 1) {
    throw invalid("image manifest version 2, schema 1 is not supported: push the image again with a current tool");
  }
  if (root.schemaVersion !== 2) throw invalid("invalid image manifest: schemaVersion is not 2");
  const own = root.mediaType === undefined ? undefined : string(root.mediaType, "mediaType");
  if (own !== undefined && isManifestType(mediaType) && own !== mediaType) {
    throw invalid(`invalid image manifest: it says ${own}, the registry ${mediaType}`);
  }
  // CVE-2021-41190: one document must not be readable as both an index and a manifest.
  if (root.manifests !== undefined && (root.layers !== undefined || root.config !== undefined)) {
    throw invalid("invalid image manifest: has both manifests and layers");
  }
  const type = own ?? (isManifestType(mediaType) ? mediaType : undefined);
  const isIndex =
    type === undefined ? root.manifests !== undefined : type === MEDIA.ociIndex || type === MEDIA.dockerList;
  if (type !== undefined && !isManifestType(type)) throw invalid(`unsupported manifest media type ${shown(type)}`);
  if (isIndex) {
    const manifests = array(root.manifests, "manifests", MAX_INDEX_ENTRIES).map((entry) =>
      descriptor(entry, "manifests"),
    );
    return { kind: "index", index: { schemaVersion: 2, ...(own ? { mediaType: own } : {}), manifests } };
  }
  const config = descriptor(root.config, "config");
  const layers = array(root.layers, "layers", MAX_LAYERS).map((entry) => descriptor(entry, "layers"));
  const known: Partial<Manifest> = own ? { mediaType: own } : {};
  if (typeof root.artifactType === "string") known.artifactType = string(root.artifactType, "artifactType");
  if (root.subject !== undefined && root.subject !== null) known.subject = descriptor(root.subject, "subject");
  return { kind: "manifest", manifest: { schemaVersion: 2, ...known, config, layers } };
}

/** Throws invalid unless the manifest is a container image whose layers inro can unpack. */
export function checkImageManifest(manifest: Manifest): void {
  const { mediaType } = manifest.config;
  if (![MEDIA.ociConfig, MEDIA.dockerConfig, "application/octet-stream"].includes(mediaType)) {
    const what = mediaType === "application/vnd.docker.plugin.v1+json" ? "a plugin" : "not a container image";
    throw invalid(`unsupported config media type ${shown(mediaType)}: this is ${what}`);
  }
  for (const layer of manifest.layers) {
    if (/nondistributable|\.foreign\./.test(layer.mediaType)) {
      throw invalid(`layer ${layer.digest} is a foreign layer (${shown(layer.mediaType)}): not supported`);
    }
    if (!LAYER.test(layer.mediaType)) throw invalid(`unsupported layer media type ${shown(layer.mediaType)}`);
  }
}

const LAYER =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(?:\.gzip|\.zstd|\+gzip|\+zstd)?)$/;

function isManifestType(type: string): boolean {
  return ([MEDIA.ociIndex, MEDIA.ociManifest, MEDIA.dockerList, MEDIA.dockerManifest] as string[]).includes(type);
}

function descriptor(value: unknown, where: string): Descriptor {
  const from = object(value, where);
  const mediaType = string(from.mediaType, `${where} mediaType`);
  const digest = string(from.digest, `${where} digest`);
  if (!isDigest(digest)) throw invalid(`invalid image manifest: ${where} has digest ${shown(digest)}`);
  if (!Number.isSafeInteger(from.size) || (from.size as number) < 0) {
    throw invalid(`invalid image manifest: ${where} has an unusable size`);
  }
  const result: Descriptor = { mediaType, digest, size: from.size as number };
  if (typeof from.artifactType === "string") result.artifactType = string(from.artifactType, "artifactType");
  if (from.platform !== undefined && from.platform !== null) result.platform = platform(from.platform);
  if (from.annotations !== undefined && from.annotations !== null) {
    const annotations = Object.entries(object(from.annotations, "annotations"));
    result.annotations = Object.fromEntries(
      annotations.filter((pair): pair is [string, string] => typeof pair[1] === "string"),
    );
  }
  return result;
}

function platform(value: unknown): Platform {
  const from = object(value, "platform");
  const result: Platform = {
    architecture: string(from.architecture ?? "", "platform architecture"),
    os: string(from.os ?? "", "platform os"),
  };
  if (from.variant !== undefined && from.variant !== null) result.variant = string(from.variant, "platform variant");
  return result;
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(`invalid image manifest: ${where} is not an object`);
  }
  return value as Record<string, unknown>;
}

function array(value: unknown, where: string, limit: number): unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalid(`invalid image manifest: ${where} is not a list`);
  if (value.length > limit) throw invalid(`invalid image manifest: more than ${limit} ${where}`);
  return value;
}

function string(value: unknown, where: string): string {
  if (typeof value !== "string" || value.length > 255 || /[\x00-\x1f\x7f]/.test(value)) {
    throw invalid(`invalid image manifest: ${where} is not a short text`);
  }
  return value;
}

const shown = (text: string) => JSON.stringify(text.slice(0, 255));
