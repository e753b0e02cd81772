import { sha256 } from "../../base/digest.ts";
import { type Descriptor, type Index, type Manifest, MEDIA } from "../../spec/oci-image.ts";

/** Bytes to be stored or pushed, and what refers to them. */
export interface Blob {
  descriptor: Descriptor;
  bytes: Buffer;
}

/** Media type of an in-toto statement. */
export const IN_TOTO = "application/vnd.in-toto+json";
const EMPTY_CONFIG = "application/vnd.oci.empty.v1+json";

/**
 * Attestations of one image as BuildKit has them: a manifest whose layers are in-toto statements, and which an index
 * lists beside the image, for the platform unknown/unknown, so that nobody runs it. `descriptor` is for that index.
 */
export function attestationManifest(
  image: Descriptor,
  statements: readonly { predicateType: string; statement: object }[],
): { manifest: Blob; blobs: Blob[] } {
  const layers = statements.map(({ predicateType, statement }) =>
    blob(IN_TOTO, statement, { "in-toto.io/predicate-type": predicateType }),
  );
  const config = blob(MEDIA.ociConfig, {
    architecture: "unknown",
    os: "unknown",
    config: {},
    rootfs: { type: "layers", diff_ids: layers.map(({ descriptor }) => descriptor.digest) },
  });
  const value: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  };
  const manifest = blob(MEDIA.ociManifest, value, {
    "vnd.docker.reference.digest": image.digest,
    "vnd.docker.reference.type": "attestation-manifest",
  });
  manifest.descriptor.platform = { architecture: "unknown", os: "unknown" };
  return { manifest, blobs: [config, ...layers] };
}

/** The same as a referrer of the image (image-spec manifest.md, "Guidelines for Artifact Usage"): one a statement. */
export function referrer(
  image: Descriptor,
  predicateType: string,
  statement: object,
): { manifest: Blob; blobs: Blob[] } {
  const annotations = { "in-toto.io/predicate-type": predicateType };
  const config = blob(EMPTY_CONFIG, {});
  const layer = blob(IN_TOTO, statement, annotations);
  const { mediaType, digest, size } = image;
  const value: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    artifactType: IN_TOTO,
    config: config.descriptor,
    layers: [layer.descriptor],
    subject: { mediaType, digest, size },
    annotations,
  };
  return { manifest: blob(MEDIA.ociManifest, value), blobs: [config, layer] };
}

/** The index of images and their attestations: images first, in the order given. */
export function attestedIndex(images: readonly Descriptor[], attestations: readonly Descriptor[]): Blob {
  const value: Index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [...images, ...attestations] };
  return blob(MEDIA.ociIndex, value);
}

function blob(mediaType: string, value: object, annotations?: Record<string, string>): Blob {
  const bytes = Buffer.from(JSON.stringify(value));
  const descriptor: Descriptor = { mediaType, digest: sha256(bytes), size: bytes.length };
  if (annotations) descriptor.annotations = annotations;
  return { descriptor, bytes };
}
