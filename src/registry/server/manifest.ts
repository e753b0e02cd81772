import { isDigest } from "../../base/digest.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import { type ErrorCode, ProtocolError } from "./errors.ts";
import { shown } from "./names.ts";

/** What a registry must know of a manifest. */
export interface CheckedManifest {
  mediaType: string;
  /** Blobs that must be there: config and layers. */
  blobs: string[];
  /** Manifests that must be there: those of an index. */
  manifests: string[];
  subject?: string;
  /** What the referrers list shows: its own, else the config's media type; none of an index without. */
  artifactType?: string;
  annotations?: Record<string, string>;
}

const MANIFESTS: readonly string[] = [MEDIA.ociManifest, MEDIA.dockerManifest];
const INDEXES: readonly string[] = [MEDIA.ociIndex, MEDIA.dockerList];
const MAX_REFERENCES = 10_000;
const MAX_TYPE = 255;

const wrong = (message: string, code: ErrorCode = "MANIFEST_INVALID") => new ProtocolError(code, message);

/**
 * Checks a manifest or index that is pushed with this Content-Type ("" for none) (image-spec manifest.md, image-index.md;
 * docker's schema 2). Only what the registry itself relies on is looked at. Errors are MANIFEST_INVALID.
 */
export function checkManifest(bytes: Uint8Array, contentType: string): CheckedManifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw wrong("not JSON");
  }
  const root = object(value, "manifest");
  if (root.schemaVersion !== 2) throw wrong("schemaVersion is not 2");
  const given = contentType.split(";")[0]!.trim().toLowerCase();
  const own = root.mediaType;
  if (own !== undefined && typeof own !== "string") throw wrong("mediaType is not a text");
  if (own !== undefined && given !== "" && own !== given) {
    throw wrong(`mediaType is ${shown(own)}, the Content-Type ${shown(given)}`);
  }
  const mediaType = own ?? given;
  // CVE-2021-41190: one document must not be readable as both an index and a manifest.
  if (root.manifests !== undefined && (root.layers !== undefined || root.config !== undefined)) {
    throw wrong("has both manifests and layers");
  }
  const result: CheckedManifest = { mediaType, blobs: [], manifests: [] };
  const declared = text(root.artifactType, "artifactType");
  let shownType = declared;
  if (INDEXES.includes(mediaType)) {
    for (const entry of list(root.manifests, "manifests")) result.manifests.push(descriptor(entry, "manifests").digest);
  } else if (MANIFESTS.includes(mediaType)) {
    const config = descriptor(root.config, "config");
    result.blobs.push(config.digest);
    for (const entry of list(root.layers ?? [], "layers")) {
      const layer = descriptor(entry, "layers");
      // Such layers stay where their urls say.
      const foreign = /nondistributable|\.foreign\./.test(layer.mediaType);
      if (!foreign) result.blobs.push(layer.digest);
    }
    shownType ??= config.mediaType;
  } else throw wrong(`unsupported media type ${shown(mediaType)}`);
  if (root.subject !== undefined && root.subject !== null) {
    result.subject = descriptor(root.subject, "subject").digest;
  }
  if (shownType !== undefined) result.artifactType = shownType;
  if (root.annotations !== undefined && root.annotations !== null) {
    const annotations = object(root.annotations, "annotations");
    if (Object.values(annotations).some((one) => typeof one !== "string")) throw wrong("an annotation is not a text");
    result.annotations = annotations as Record<string, string>;
  }
  return result;
}

function descriptor(value: unknown, where: string): { mediaType: string; digest: string } {
  const from = object(value, where);
  const { digest, size } = from;
  const mediaType = text(from.mediaType, `${where} mediaType`);
  if (mediaType === undefined || mediaType === "") throw wrong(`${where} has no mediaType`);
  if (typeof digest !== "string" || !isDigest(digest)) {
    throw wrong(`${where} has digest ${shown(String(digest))}`, "DIGEST_INVALID");
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw wrong(`${where} has an unusable size`, "SIZE_INVALID");
  return { mediaType, digest };
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(`${where} is not an object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(`${where} is not a list`);
  if (value.length > MAX_REFERENCES) throw wrong(`more than ${MAX_REFERENCES} ${where}`);
  return value;
}

function text(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string" || value.length > MAX_TYPE) throw wrong(`${where} is not a short text`);
  return value;
}
