import { isDigest } from "../../base/digest.ts";
import { ProtocolError } from "./errors.ts";

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const MAX_NAME = 255;

/** The name of a repository, or a NAME_INVALID error (distribution-spec, "Pulling manifests"). */
export function checkName(text: string): string {
  if (text.length > MAX_NAME || !NAME.test(text)) {
    throw new ProtocolError("NAME_INVALID", `invalid repository name ${shown(text)}`);
  }
  return text;
}

/** A sha256 or sha512 digest, or a DIGEST_INVALID error. */
export function checkDigest(text: string): string {
  if (!isDigest(text)) throw new ProtocolError("DIGEST_INVALID", `invalid digest ${shown(text)}: sha256 or sha512`);
  return text;
}

export function checkTag(text: string): string {
  if (!TAG.test(text)) throw new ProtocolError("TAG_INVALID", `invalid tag ${shown(text)}`);
  return text;
}

/** What stands behind `manifests/`. */
export function parseReference(text: string): { digest: string } | { tag: string } {
  return text.includes(":") ? { digest: checkDigest(text) } : { tag: checkTag(text) };
}

export const shown = (text: string) => JSON.stringify(text.slice(0, 200));
