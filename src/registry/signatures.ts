import { InroError } from "../base/errors.ts";
import type { Descriptor, Manifest } from "../spec/oci-image.ts";
import { parseManifest } from "./manifest.ts";
import { isMissing, readArtifact, referrers } from "./referrers.ts";
import type { Repository } from "./repository.ts";

/** A signature as a registry has it: nothing of it is true before it is verified. */
export interface Signature {
  /** The bytes that were signed. */
  signed: Buffer;
  signature: Buffer;
  /** What they say: the digest of a manifest, and whose it is. */
  claim: { digest: string; reference?: string };
  /** PEM, where it was not made with a key alone; and the certificates between that and an authority. */
  certificate?: string;
  chain?: string;
}

const SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json";
const COSIGN_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json";
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.3)?\+json/;
const IN_TOTO = "application/vnd.in-toto+json";
/** More would be a way to keep an engine busy. */
const MAX_SIGNATURES = 50;
const MAX_PAYLOAD = 256 << 10;

/**
 * The signatures of a manifest: cosign's, by tag (cosign's SIGNATURE_SPEC) and as referrers, and sigstore bundles
 * (protobuf-specs, sigstore_bundle.proto). What cannot be read as one is left out. Rejects only when the registry fails.
 */
export async function signaturesOf(repository: Repository, digest: string, signal?: AbortSignal): Promise<Signature[]> {
  const found: Signature[] = [];
  const take = async (manifest: Manifest, blobs: Buffer[]) => {
    for (const [i, layer] of manifest.layers.entries()) {
      const signature = layer.mediaType === SIMPLE ? simple(layer, blobs[i]!) : bundle(layer, blobs[i]!);
      if (signature && found.length < MAX_SIGNATURES) found.push(signature);
    }
  };
  const tag = `${digest.replace(":", "-")}.sig`;
  const tagged = await repository.manifest(tag, signal).catch((error) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (tagged) {
    await readable(async () => {
      const parsed = parseManifest(tagged.bytes, tagged.mediaType);
      if (parsed.kind === "index") return;
      const blobs: Buffer[] = [];
      const layers = parsed.manifest.layers.slice(0, MAX_SIGNATURES);
      for (const layer of layers) blobs.push(await repository.smallBlob(layer, MAX_PAYLOAD, signal));
      await take({ ...parsed.manifest, layers }, blobs);
    });
  }
  const attached = (await referrers(repository, digest, { signal })).filter(
    ({ artifactType = "" }) => artifactType === COSIGN_ARTIFACT || BUNDLE.test(artifactType),
  );
  for (const entry of attached.slice(0, MAX_SIGNATURES)) {
    await readable(async () => {
      const { manifest, blobs } = await readArtifact(repository, entry.digest, { limit: MAX_PAYLOAD, signal });
      await take(manifest, blobs);
    });
  }
  return found;
}

/** One that is wrong does not hide the others. */
async function readable(read: () => Promise<void>): Promise<void> {
  try {
    await read();
  } catch (error) {
    if (error instanceof InroError && (error.kind === "invalid" || error.kind === "notFound")) return;
    throw error;
  }
}

function simple({ annotations = {} }: Descriptor, signed: Buffer): Signature | undefined {
  const signature = annotations["dev.cosignproject.cosign/signature"];
  const { critical } = json(signed);
  const { type, image, identity } = Object(critical);
  const digest = Object(image)["docker-manifest-digest"];
  const reference = Object(identity)["docker-reference"];
  if (signature === undefined || type !== "cosign container image signature") return undefined;
  if (typeof digest !== "string" || typeof reference !== "string") return undefined;
  const certificate = annotations["dev.sigstore.cosign/certificate"];
  const chain = annotations["dev.sigstore.cosign/chain"];
  return {
    ...{ signed, signature: Buffer.from(signature, "base64"), claim: { digest, reference } },
    ...(certificate === undefined ? {} : { certificate }),
    ...(chain === undefined ? {} : { chain }),
  };
}

function bundle({ mediaType }: Descriptor, bytes: Buffer): Signature | undefined {
  if (!BUNDLE.test(mediaType)) return undefined;
  const { dsseEnvelope, verificationMaterial } = json(bytes);
  const { payload, payloadType, signatures } = Object(dsseEnvelope);
  const sig = Array.isArray(signatures) ? Object(signatures[0]).sig : undefined;
  if (typeof payload !== "string" || payloadType !== IN_TOTO || typeof sig !== "string") return undefined;
  const statement = Buffer.from(payload, "base64");
  const { subject } = json(statement);
  // A statement about several things would let one stand for another.
  if (!Array.isArray(subject) || subject.length !== 1) return undefined;
  const { name, digest } = Object(subject[0]);
  const hex = Object(digest).sha256;
  if (typeof hex !== "string") return undefined;
  const material = Object(verificationMaterial);
  const raw =
    Object(material.certificate).rawBytes ?? Object(Object(material.x509CertificateChain).certificates?.[0]).rawBytes;
  return {
    signed: preAuthentication(payloadType, statement),
    signature: Buffer.from(sig, "base64"),
    claim: { digest: `sha256:${hex}`, ...(typeof name === "string" && name !== "" ? { reference: name } : {}) },
    ...(typeof raw === "string" ? { certificate: pem(raw) } : {}),
  };
}

/** What DSSE signs (secure-systems-lab/dsse, protocol.md). */
function preAuthentication(type: string, payload: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

const pem = (base64: string) =>
  `-----BEGIN CERTIFICATE-----\n${base64.replace(/\s/g, "").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

function json(bytes: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(bytes.toString()));
  } catch {
    return {};
  }
}
