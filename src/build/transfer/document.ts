import { isDigest } from "../../base/digest.ts";
import { invalid } from "../../base/errors.ts";
import type { CacheRecord } from "../cache.ts";

/** Media type of a cache's document, which is the config of its manifest. */
export const CACHE_DOCUMENT = "application/vnd.inro.build-cache.v1+json";
/** Bytes. */
export const MAX_DOCUMENT = 4 << 20;
/** What a manifest may have. */
export const MAX_CACHE_LAYERS = 480;
const MAX_ENTRIES = 20_000;
const MAX_TEXT = 4096;
const MAX_DESCRIPTION = 1000;

/**
 * What steps of builds came to, for other engines: the layers of the manifest by their numbers. Keys are this program's
 * own (src/build/key.ts), so that nobody else can make use of them.
 */
export interface CacheDocument {
  readonly version: 1;
  /** Without a layer it changed nothing. */
  readonly records: readonly { key: string; chain: string; parent: string; description: string; layer?: number }[];
  /** Digests that selections of files have, by the chain of their source. */
  readonly selections: readonly (readonly [source: string, selection: string, digest: string])[];
  /** RUN cache mounts: each layer is a tar of one's files. */
  readonly mounts: readonly { id: string; layer: number }[];
  /** Of each layer of the manifest; none for a mount's. */
  readonly diffIds: readonly (string | null)[];
}

/** A record as a document has it, but for its layer. */
export function documented({ key, chain, parent, description }: CacheRecord): CacheDocument["records"][number] {
  return { key, chain, parent, description: description.slice(0, MAX_DESCRIPTION) };
}

/** Reads what came from elsewhere; `layers` is how many the manifest has. Errors are invalid. */
export function parseCacheDocument(text: string, layers: number): CacheDocument {
  const bad = (what: string) => invalid(`invalid build cache: ${what}`);
  let value: Partial<Record<keyof CacheDocument, unknown>>;
  try {
    value = Object(JSON.parse(text));
  } catch (error) {
    throw invalid("invalid build cache: not JSON", error);
  }
  if (value.version !== 1) throw bad("another version than 1");
  const list = (one: unknown, most = MAX_ENTRIES): unknown[] => {
    if (!Array.isArray(one) || one.length > most) throw bad("not a list, or too long a one");
    return one;
  };
  const digest = (one: unknown): string => {
    if (typeof one !== "string" || !isDigest(one)) throw bad("not a digest");
    return one;
  };
  const textOf = (one: unknown): string => {
    if (typeof one !== "string" || one.length > MAX_TEXT) throw bad("not a text, or too long a one");
    return one;
  };
  const layer = (one: unknown): number => {
    if (!Number.isInteger(one) || (one as number) < 0 || (one as number) >= layers) throw bad("no such layer");
    return one as number;
  };
  const diffIds = list(value.diffIds, layers).map((one) => (one === null ? null : digest(one)));
  if (diffIds.length !== layers) throw bad("another number of layers than its manifest");
  return {
    version: 1,
    diffIds,
    records: list(value.records).map((one) => {
      const { key, chain, parent, description, layer: number } = Object(one) as Record<string, unknown>;
      const known = {
        key: digest(key),
        chain: chain === "" ? "" : digest(chain),
        parent: parent === "" ? "" : digest(parent),
        description: textOf(description),
      };
      if (number === undefined) return known;
      if (diffIds[layer(number)] === null) throw bad("a step whose layer is a mount's");
      return { ...known, layer: number as number };
    }),
    selections: list(value.selections).map((one) => {
      const [source, selection, found] = list(one, 3);
      return [digest(source), digest(selection), digest(found)] as const;
    }),
    mounts: list(value.mounts).map((one) => {
      const { id, layer: number } = Object(one) as Record<string, unknown>;
      if (textOf(id) === "") throw bad("a mount without an id");
      return { id: id as string, layer: layer(number) };
    }),
  };
}
