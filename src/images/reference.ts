import { isDigest } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";

/** A normalised image reference: `domain/path[:tag][@digest]`. */
export interface Reference {
  /** Registry host with optional port; `docker.io` when the text names none. */
  domain: string;
  /** Repository below the domain; `library/` is there for the single-component names of docker.io. */
  path: string;
  tag?: string;
  digest?: string;
}

const DEFAULT_DOMAIN = "docker.io";
const MAX_NAME = 255;
const MAX_TEXT = 1024;

const LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/**
 * Reads what a user may write for an image and completes domain and `library/`; no default tag is added
 * ({@link withDefaultTag}). Errors are invalid, in docker's words. Grammar: distribution's reference package.
 */
export function parseReference(text: string): Reference {
  if (text.length > MAX_TEXT) throw invalid(`invalid reference format: longer than ${MAX_TEXT} characters`);
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const { domain, rest } = splitDomain(text);
  const at = rest.indexOf("@");
  const named = at < 0 ? rest : rest.slice(0, at);
  const colon = named.indexOf(":");
  const path = colon < 0 ? named : named.slice(0, colon);
  if (path !== path.toLowerCase()) {
    throw invalid(`invalid reference format: repository name (${path}) must be lowercase`);
  }
  if (!DOMAIN.test(domain) || !PATH.test(path)) throw invalid("invalid reference format");
  if (path.length > MAX_NAME || domain.length + 1 + path.length > MAX_NAME) {
    throw invalid(`repository name must not be more than ${MAX_NAME} characters`);
  }
  const reference: Reference = { domain, path };
  if (colon >= 0) {
    const tag = named.slice(colon + 1);
    if (!TAG.test(tag)) throw invalid("invalid reference format");
    reference.tag = tag;
  }
  if (at >= 0) {
    const digest = rest.slice(at + 1);
    if (!isDigest(digest)) throw invalid("invalid reference format");
    reference.digest = digest;
  }
  return reference;
}

function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf("/");
  const first = slash < 0 ? "" : text.slice(0, slash);
  const named = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  let domain = named ? first : DEFAULT_DOMAIN;
  let rest = named ? text.slice(slash + 1) : text;
  if (domain === "index.docker.io") domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !rest.includes("/")) rest = `library/${rest}`;
  return { domain, rest };
}

/** The same reference with tag `latest` when it has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;
}

/** Throws invalid unless `tag` matches the grammar of tags. */
export function checkTag(tag: string): void {
  if (!TAG.test(tag)) throw invalid("invalid tag format");
}

/** `docker.io/library/busybox`: the key of a repository in the records. */
export function repositoryName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The repository as users see it: without `docker.io/` and `library/`. */
export function familiarName(reference: Pick<Reference, "domain" | "path">): string {
  if (reference.domain !== DEFAULT_DOMAIN) return `${reference.domain}/${reference.path}`;
  const parts = reference.path.split("/");
  return parts.length === 2 && parts[0] === "library" ? parts[1]! : reference.path;
}

/** The whole reference as users see it: `busybox:latest`, `busybox@sha256:…`. */
export function familiar(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}

/** The whole reference with its domain: `docker.io/library/busybox:latest`. */
export function canonical(reference: Reference): string {
  return repositoryName(reference) + suffix(reference);
}

function suffix({ tag, digest }: Reference): string {
  return (tag === undefined ? "" : `:${tag}`) + (digest === undefined ? "" : `@${digest}`);
}

/** Takes a name from the records ({@link repositoryName}) apart again. */
export function splitRepository(name: string): Pick<Reference, "domain" | "path"> {
  const slash = name.indexOf("/");
  return { domain: name.slice(0, slash), path: name.slice(slash + 1) };
}
