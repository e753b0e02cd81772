import { invalid } from "./errors.ts";

/** A digest that is safe to use as a file name below its algorithm (image-spec descriptor.md, "Digests"). */
export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text) || /^sha512:[0-9a-f]{128}$/.test(text);
}

/** Splits a digest; anything else than sha256 and sha512 in canonical form is an invalid-argument error. */
export function parseDigest(text: string): { algorithm: "sha256" | "sha512"; hex: string } {
  if (!isDigest(text)) throw invalid(`invalid digest ${JSON.stringify(text.slice(0, 200))}`);
  const [algorithm, hex] = text.split(":") as ["sha256" | "sha512", string];
  return { algorithm, hex };
}

/** Loaded when first used: it takes as long as all else that a cold start of the runtime needs. */
const crypto = () => process.getBuiltinModule("node:crypto");

export function sha256(data: Uint8Array | string): string {
  return `sha256:${crypto().createHash("sha256").update(data).digest("hex")}`;
}

/** ChainID of the layers with these diffIDs, base first (image-spec config.md, "Layer ChainID"). */
export function chainId(diffIds: readonly string[]): string {
  return diffIds.reduce(chainOn, "");
}

/** ChainID of a layer on those that `chain` is the ChainID of; empty for none. */
export function chainOn(chain: string, diffId: string): string {
  return chain === "" ? diffId : sha256(`${chain} ${diffId}`);
}

/** A new 64-hex object id. One that is all decimal digits would be taken for a number by some tools: drawn again. */
export function newId(): string {
  for (;;) {
    const id = crypto().randomBytes(32).toString("hex");
    if (!/^\d{12}/.test(id)) return id;
  }
}
