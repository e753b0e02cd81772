import { createPublicKey, type KeyObject, verify, X509Certificate } from "node:crypto";
import { forbidden, InroError, invalid, messageOf } from "../base/errors.ts";
import type { Repository } from "../registry/repository.ts";
import { type Signature, signaturesOf } from "../registry/signatures.ts";
import { familiar, parseReference, type Reference, repositoryName } from "./reference.ts";
import {
  type Identity,
  requirementsFor,
  type SignaturePolicy,
  type SigstoreSigned,
  type Trust,
} from "./signature-policy.ts";

/** What is about to be pulled: the name, and the digests that a signature may be for (an index, and the manifest of it). */
export interface Candidate {
  reference: Reference;
  digests: readonly string[];
  repositories: readonly Repository[];
}

/** Rejects with forbidden unless the policy allows the image; with the registry's error when its signatures cannot be asked for. */
export async function checkPolicy(policy: SignaturePolicy, candidate: Candidate, signal: AbortSignal): Promise<void> {
  const refuse = (why: string) =>
    forbidden(`${familiar(candidate.reference)} is rejected by the signature policy (${policy.path}): ${why}`);
  let signatures: Signature[] | undefined;
  for (const requirement of requirementsFor(policy, candidate.reference)) {
    if (requirement.type === "insecureAcceptAnything") continue;
    if (requirement.type === "reject") throw refuse("nothing is allowed here");
    signatures ??= await collect(candidate, signal);
    if (signatures.length === 0) throw refuse("a signature was required, but no signature exists");
    const reasons = signatures.map((signature) => objection(requirement, signature, candidate));
    if (!reasons.includes(undefined)) throw refuse([...new Set(reasons)].slice(0, 3).join("; "));
  }
}

/** A mirror may have the image without them; the registry itself must answer. */
async function collect({ digests, repositories }: Candidate, signal: AbortSignal): Promise<Signature[]> {
  const found: Signature[] = [];
  for (const [i, repository] of repositories.entries()) {
    try {
      for (const digest of digests) found.push(...(await signaturesOf(repository, digest, signal)));
    } catch (error) {
      if (found.length === 0 && i === repositories.length - 1) throw error;
    }
    if (found.length > 0) return found;
  }
  return found;
}

/** Why a signature does not do; undefined when it does. */
function objection(
  { trust, identity }: SigstoreSigned,
  signature: Signature,
  { digests, reference }: Candidate,
): string | undefined {
  try {
    const keys = "keys" in trust ? trust.keys.map(publicKey) : [certified(trust, signature)];
    if (!keys.some((key) => isSignedBy(key, signature))) return "a signature does not verify";
  } catch (error) {
    if (error instanceof InroError && error.kind === "forbidden") return error.message;
    throw error;
  }
  const { claim } = signature;
  if (!digests.includes(claim.digest)) return `a signature is for ${claim.digest.slice(0, 100)}`;
  return matches(identity, claim.reference, reference)
    ? undefined
    : `a signature is for ${claim.reference === undefined ? "no name" : JSON.stringify(claim.reference.slice(0, 200))}`;
}

function publicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (error) {
    throw invalid(`signature policy: a key is no public key in PEM: ${messageOf(error)}`, error);
  }
}

const MIN_RSA_BITS = 2048;

/** ECDSA and RSA (PKCS #1 v1.5) over SHA-256, Ed25519 over the bytes themselves, as cosign has them. */
function isSignedBy(key: KeyObject, { signed, signature }: Signature): boolean {
  const type = key.asymmetricKeyType;
  if (type === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) return false;
  if (type !== "rsa" && type !== "ec" && type !== "ed25519") return false;
  try {
    return verify(type === "ed25519" ? null : "sha256", signed, key, signature);
  } catch {
    return false;
  }
}

const CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
const MAX_CHAIN = 8;

/** The key of a certificate that leads to the authorities, is of today, and names whom it must. Throws forbidden. */
function certified(trust: Extract<Trust, { roots: string[] }>, { certificate, chain = "" }: Signature): KeyObject {
  if (certificate === undefined) throw forbidden("a signature has no certificate");
  const [leaf] = parse(certificate);
  if (!leaf) throw forbidden("a signature's certificate is unusable");
  const roots = trust.roots.flatMap(parse);
  const between = [...trust.intermediates.flatMap(parse), ...parse(chain)];
  let current = leaf;
  for (let depth = 0; ; depth++) {
    checkTime(current);
    const root = roots.find((one) => issued(one, current));
    if (root) {
      checkTime(root);
      break;
    }
    const next = between.find((one) => one.ca && issued(one, current) && one.fingerprint256 !== current.fingerprint256);
    if (!next || depth === MAX_CHAIN) throw forbidden("a signature's certificate is of no trusted authority");
    current = next;
  }
  if (!(leaf.keyUsage ?? []).includes(CODE_SIGNING))
    throw forbidden("a signature's certificate is not for code signing");
  const names = (leaf.subjectAltName ?? "").split(", ");
  if (trust.email !== undefined && !names.includes(`email:${trust.email}`)) {
    throw forbidden(`a signature's certificate is not for ${trust.email}`);
  }
  if (trust.hostname !== undefined && !names.includes(`DNS:${trust.hostname}`)) {
    throw forbidden(`a signature's certificate is not for ${trust.hostname}`);
  }
  return leaf.publicKey;
}

const issued = (by: X509Certificate, one: X509Certificate) => by.ca && one.checkIssued(by) && one.verify(by.publicKey);

function checkTime({ validFrom, validTo }: X509Certificate): void {
  const now = Date.now();
  if (now < Date.parse(validFrom) || now > Date.parse(validTo)) {
    throw forbidden("a signature's certificate, or one above it, is out of its time");
  }
}

function parse(pems: string): X509Certificate[] {
  const blocks = pems.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.slice(0, MAX_CHAIN * 4).map((block) => new X509Certificate(block));
  } catch (error) {
    throw forbidden(`a certificate of a signature is unusable: ${messageOf(error)}`);
  }
}

/** containers-policy.json(5), "signedIdentity". */
function matches(identity: Identity, text: string | undefined, wanted: Reference): boolean {
  if (identity.type === "matchDigest") return true;
  if (text === undefined) return false;
  let claimed: Reference;
  try {
    claimed = parseReference(text);
  } catch {
    return false;
  }
  const exact = (expected: Reference) =>
    expected.tag !== undefined &&
    claimed.digest === undefined &&
    repositoryName(claimed) === repositoryName(expected) &&
    claimed.tag === expected.tag;
  const sameRepository = repositoryName(claimed) === repositoryName(wanted);
  switch (identity.type) {
    case "matchExact":
      return exact(wanted);
    case "matchRepoDigestOrExact":
      return wanted.digest === undefined ? exact(wanted) : sameRepository;
    case "matchRepository":
      return sameRepository;
    case "exactReference":
      return exact(parseReference(identity.reference));
    case "exactRepository":
      return repositoryName(claimed) === repositoryName(parseReference(identity.repository));
    case "remapIdentity": {
      const { prefix, signedPrefix } = identity;
      const name = repositoryName(wanted);
      if (name !== prefix && !name.startsWith(`${prefix}/`)) {
        return wanted.digest === undefined ? exact(wanted) : sameRepository;
      }
      const mapped = parseReference(`${signedPrefix}${name.slice(prefix.length)}`);
      const expected = wanted.tag === undefined ? mapped : { ...mapped, tag: wanted.tag };
      return wanted.digest === undefined ? exact(expected) : repositoryName(claimed) === repositoryName(expected);
    }
  }
}
