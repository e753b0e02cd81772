import { isDigest } from "../../base/digest.ts";
import { invalid, notImplemented } from "../../base/errors.ts";
import { parseReference } from "../../images/reference.ts";

/** Where a cache is. */
export type CachePlace =
  | { readonly type: "registry"; readonly ref: string }
  /** In the configuration of the image that is built. */
  | { readonly type: "inline" }
  /**
   * An OCI layout in a directory of the client's, read by the number of its listing. In its index the digest or, without
   * one, the tag says which.
   */
  | { readonly type: "local"; readonly files: number; readonly tag: string; readonly digest?: string };

/** `--cache-from` and `--cache-to`, as their words say. */
export type CacheOption = CachePlace & {
  /** RUN cache mounts too. */
  readonly mounts: boolean;
  readonly mode: "min" | "max";
  readonly ignoreError: boolean;
};

export type CacheFlag = "--cache-from" | "--cache-to";

const WORDS: Record<CachePlace["type"], readonly string[]> = {
  registry: ["ref"],
  inline: [],
  local: ["files", "tag", "digest"],
};
/** What every kind knows; layers are gzip in manifests of OCI here, so that some words of BuildKit's change nothing. */
const COMMON = ["type", "mode", "mounts", "ignore-error", "oci-mediatypes", "image-manifest", "force-compression"];
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * `local`: the client's own directories can be had, by `files`. Errors are invalid, and notImplemented for a kind of cache
 * that is not there.
 */
export function cacheOption(given: Readonly<Record<string, string>>, flag: CacheFlag, local = false): CacheOption {
  const { type = "registry", mode = "min", compression = "gzip" } = given;
  const bad = (what: string) => invalid(`${flag}: ${what}`);
  if (!isType(type) || (type === "inline" && flag === "--cache-from")) {
    const instead =
      type === "inline" ? "an image's own cache is read with type=registry,ref=IMAGE" : "use registry, local";
    throw notImplemented(`${flag}: type=${type.slice(0, 60)} is not supported: ${instead}`);
  }
  if (type === "local" && !local) {
    throw notImplemented(
      `${flag}: type=local is for inro build: BuildKit's protocol has no such directory, use registry`,
    );
  }
  if (compression !== "gzip") throw notImplemented(`${flag}: compression=${compression.slice(0, 60)} is not supported`);
  const known = [...COMMON, ...WORDS[type], "compression"];
  const unknown = Object.keys(given).find((word) => !known.includes(word));
  if (unknown !== undefined) throw bad(`unknown word ${JSON.stringify(unknown.slice(0, 60))} of type=${type}`);
  if (mode !== "min" && mode !== "max") throw bad(`mode is min or max, not ${mode.slice(0, 60)}`);
  const how = { mode, mounts: given.mounts === "true", ignoreError: given["ignore-error"] === "true" } as const;
  if (type === "inline") {
    if (mode === "max") throw bad("type=inline has the image's own steps alone: mode=max is for registry and local");
    if (how.mounts) throw bad("type=inline has no cache mounts: use registry or local");
    return { type, ...how };
  }
  if (type === "registry") {
    const { ref = "" } = given;
    if (ref === "") throw bad("type=registry needs ref=NAME");
    parseReference(ref);
    return { type, ref, ...how };
  }
  const { tag = "latest", digest } = given;
  const files = Number(given.files ?? "x");
  if (!Number.isSafeInteger(files) || files < 0) throw bad("type=local needs a directory");
  if (!TAG.test(tag)) throw bad(`invalid tag ${JSON.stringify(tag.slice(0, 60))}`);
  if (digest !== undefined && !isDigest(digest)) throw bad(`invalid digest ${JSON.stringify(digest.slice(0, 100))}`);
  return { type, files, tag, ...(digest === undefined ? {} : { digest }), ...how };
}

const isType = (type: string): type is CachePlace["type"] => Object.hasOwn(WORDS, type);

/** For messages. */
export function nameOfCache(option: CacheOption): string {
  if (option.type === "registry") return option.ref;
  return option.type === "local" ? `client directory (${option.digest ?? option.tag})` : "image";
}
