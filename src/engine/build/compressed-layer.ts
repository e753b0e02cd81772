import { join } from "node:path";
import type { ContentStore } from "../../content/store.ts";
import type { ArtifactFile } from "../../images/artifacts.ts";
import { compressInChild } from "../../layers/apply-command.ts";
import { type Descriptor, MEDIA } from "../../spec/oci-image.ts";

/** A stored layer as a registry is sent it: as it came, or compressed into `directory` where it is a plain tar of this machine. */
export async function compressedLayer(
  content: ContentStore,
  blob: Descriptor,
  directory: string,
  signal: AbortSignal,
): Promise<ArtifactFile> {
  const source = content.path(blob.digest);
  if (blob.mediaType !== MEDIA.ociLayer) return { descriptor: blob, path: source };
  const target = join(directory, blob.digest.slice("sha256:".length));
  const made = await compressInChild({ source, digest: blob.digest, target, form: "gzip" }, signal);
  return { descriptor: { mediaType: MEDIA.ociLayerGzip, ...made }, path: target };
}
