import { conflict, InroError, invalid, notFound } from "../base/errors.ts";
import type { Records } from "./records.ts";
import { familiar, parseReference, type Reference, repositoryName, withDefaultTag } from "./reference.ts";

/** What a user's text names: an image, and the reference by which, unless it was an id. */
export interface Found {
  id: string;
  reference?: Reference;
}

const MAX_TEXT = 1024;

/**
 * Finds an image by name (`name[:tag]`), `name@digest`, id or prefix of an id, with or without `sha256:`, in docker's
 * order: whole id, name, prefix. notFound, or invalid when a prefix fits several.
 */
export function findImage(records: Records, text: string): Found {
  const id = /^(?:sha256:)?([0-9a-f]{64})$/.exec(text)?.[1];
  if (id !== undefined) {
    // A container's image may be asked for by its id after it was removed by force.
    if (records.get(`sha256:${id}`, true)) return { id: `sha256:${id}` };
    throw noSuchImage(text);
  }
  let reference: Reference | undefined;
  try {
    reference = withDefaultTag(parseReference(text));
  } catch (error) {
    if (!(error instanceof InroError)) throw error;
  }
  if (reference) {
    const named = findReference(records, reference);
    if (named !== undefined) return { id: named, reference };
  }
  const prefix = /^(?:sha256:)?([0-9a-f]{1,63})$/.exec(text)?.[1];
  const matches = prefix === undefined ? [] : records.idsByPrefix(prefix);
  if (matches.length > 1) throw invalid(`multiple IDs found with provided prefix: ${text}`);
  if (matches[0] !== undefined) return { id: matches[0] };
  if (!reference)
    throw text.length > MAX_TEXT
      ? noSuchImage(text.slice(0, 100))
      : invalid(`invalid reference format: ${JSON.stringify(text)}`);
  throw noSuchImage(familiar(reference));
}

function findReference(records: Records, reference: Reference): string | undefined {
  const repository = repositoryName(reference);
  const { digest, tag } = reference;
  if (digest === undefined) return records.tagged(repository, tag!);
  const byDigest = records.digested(repository, digest);
  if (byDigest !== undefined) return byDigest;
  // `name@ID`, where the image with this id has that name.
  return records.tags(digest).some((row) => row.repository === repository) ? digest : undefined;
}

export function noSuchImage(text: string): InroError {
  return notFound(`No such image: ${text}`);
}

/** Refuses what cannot be a tag's target: a digest, or a name that reads like one. */
export function tagTarget(repository: string, tag: string | undefined): Reference {
  const reference = parseReference(tag ? `${stripTag(repository)}:${tag}` : repository);
  if (reference.digest !== undefined) throw invalid("refusing to create a tag with a digest reference");
  if (reference.path === "library/sha256" || reference.path === "library/sha512") {
    throw conflict("refusing to create an ambiguous tag using digest algorithm as name");
  }
  return withDefaultTag(reference);
}

function stripTag(repository: string): string {
  const { tag, digest } = parseReference(repository);
  if (digest !== undefined) throw invalid("refusing to create a tag with a digest reference");
  return tag === undefined ? repository : repository.slice(0, -tag.length - 1);
}
