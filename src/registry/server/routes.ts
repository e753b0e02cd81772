import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { parseDigest } from "../../base/digest.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import { sendBlob } from "./blob.ts";
import { ProtocolError } from "./errors.ts";
import { checkManifest } from "./manifest.ts";
import { checkDigest, checkName, checkTag, parseReference } from "./names.ts";
import type { RegistryStore, StoredManifest } from "./store.ts";
import type { Uploads } from "./uploads.ts";

/** One request on its way. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  method: string;
  query: URLSearchParams;
  store: RegistryStore;
  uploads: Uploads;
  /** The body, guarded against silence. */
  body(): AsyncIterable<Uint8Array>;
}

export const MAX_MANIFEST = 4 * 1024 * 1024;
const MAX_REFERRERS = 4 * 1024 * 1024;
const MAX_PAGE = 10_000;
const MAX_TAGS = 100;
const JSON_TYPE = "application/json";

/** Answers a request below `/v2/`, of which `segments` is the rest, decoded. Throws ProtocolError. */
export async function route(exchange: Exchange, segments: string[]): Promise<void> {
  if (segments.length === 1 && segments[0] === "") {
    only(exchange, "GET", "HEAD");
    return json(exchange, {});
  }
  if (segments.length === 1 && segments[0] === "_catalog") {
    only(exchange, "GET");
    const { names, next } = page(exchange, (limit, last) => exchange.store.repositories(limit, last));
    return json(exchange, { repositories: names }, next);
  }
  const at = (back: number) => segments[segments.length - back] ?? "";
  const name = (back: number) => checkName(segments.slice(0, -back).join("/"));
  // From the end, since a repository may be called what an endpoint is.
  if (at(3) === "blobs" && at(2) === "uploads") {
    if (at(1) === "") return begin(exchange, name(3));
    return upload(exchange, name(3), at(1));
  }
  if (at(2) === "blobs" && at(1) === "uploads") return begin(exchange, name(2));
  if (at(2) === "blobs") return blob(exchange, name(2), checkDigest(at(1)));
  if (at(2) === "manifests") return manifest(exchange, name(2), at(1));
  if (at(2) === "tags" && at(1) === "list") return tags(exchange, name(2));
  if (at(2) === "referrers") return referrers(exchange, name(2), checkDigest(at(1)));
  throw new ProtocolError("UNSUPPORTED", "no such endpoint", { status: 404 });
}

async function blob(exchange: Exchange, repo: string, digest: string): Promise<void> {
  const { store, response } = exchange;
  only(exchange, "GET", "HEAD", "DELETE");
  if (!store.hasBlob(repo, digest))
    throw new ProtocolError("BLOB_UNKNOWN", "blob unknown to registry", { detail: digest });
  if (exchange.method === "DELETE") {
    refuseReferred(exchange, repo, digest);
    store.deleteBlob(repo, digest);
    response.writeHead(202, { "Content-Length": 0 }).end();
    return;
  }
  await sendBlob(exchange, digest, "application/octet-stream");
}

async function manifest(exchange: Exchange, repo: string, text: string): Promise<void> {
  const { store, response } = exchange;
  only(exchange, "GET", "HEAD", "PUT", "DELETE");
  const reference = parseReference(text);
  if (exchange.method === "PUT") return putManifest(exchange, repo, reference);
  const found = store.manifest(repo, reference);
  if (!found) {
    const code = store.hasRepository(repo) ? "MANIFEST_UNKNOWN" : "NAME_UNKNOWN";
    throw new ProtocolError(
      code,
      code === "NAME_UNKNOWN" ? "repository name not known to registry" : "manifest unknown",
      {
        detail: text,
      },
    );
  }
  if (exchange.method === "DELETE") {
    if ("tag" in reference) store.deleteTag(repo, reference.tag);
    else {
      refuseReferred(exchange, repo, found.digest);
      store.deleteManifest(repo, found.digest);
    }
    response.writeHead(202, { "Content-Length": 0 }).end();
    return;
  }
  await sendBlob(exchange, found.digest, found.mediaType);
}

/** What a manifest needs must not be taken from it. */
function refuseReferred({ store }: Exchange, repo: string, digest: string): void {
  const holder = store.referenceTo(repo, digest);
  if (holder !== undefined) {
    throw new ProtocolError("DENIED", `${digest} is part of ${holder}: delete that first`, { status: 405 });
  }
}

async function putManifest(
  exchange: Exchange,
  repo: string,
  reference: { tag: string } | { digest: string },
): Promise<void> {
  const { store, request, response, query } = exchange;
  const bytes = await small(exchange, MAX_MANIFEST);
  const algorithm = "digest" in reference ? parseDigest(reference.digest).algorithm : "sha256";
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
  if ("digest" in reference && reference.digest !== digest) {
    throw new ProtocolError("DIGEST_INVALID", "provided digest did not match uploaded content", {
      detail: { provided: reference.digest, found: digest },
    });
  }
  const further = query.getAll("tag").map(checkTag);
  if (further.length > MAX_TAGS) throw new ProtocolError("TAG_INVALID", `more than ${MAX_TAGS} tags`, { status: 414 });
  const checked = checkManifest(bytes, request.headers["content-type"] ?? "");
  const missing = [
    ...new Set(checked.blobs.filter((one) => !store.hasBlob(repo, one))),
    ...new Set(checked.manifests.filter((one) => !store.hasManifest(repo, one))),
  ];
  if (missing.length > 0) {
    const detail = missing.slice(0, 20).map((one) => ({ digest: one }));
    throw new ProtocolError("MANIFEST_BLOB_UNKNOWN", "blob or manifest unknown to registry", { detail });
  }
  const tags = "tag" in reference ? [reference.tag, ...further] : further;
  await store.putManifest(repo, digest, bytes, checked, tags);
  response.writeHead(201, {
    Location: `/v2/${repo}/manifests/${digest}`,
    "Docker-Content-Digest": digest,
    ...(checked.subject === undefined ? {} : { "OCI-Subject": checked.subject }),
    ...(further.length > 0 ? { "OCI-Tag": further.join(", ") } : {}),
    "Content-Length": 0,
  });
  response.end();
}

async function begin(exchange: Exchange, repo: string): Promise<void> {
  const { store, uploads, query, request } = exchange;
  only(exchange, "POST");
  const mount = query.get("mount");
  if (mount !== null) {
    const from = query.get("from");
    const digest = checkDigest(mount);
    if (store.mountBlob(repo, digest, from === null ? undefined : checkName(from)))
      return created(exchange, repo, digest);
  }
  const digest = query.get("digest");
  if (digest !== null) checkDigest(digest);
  const id = await uploads.begin(repo);
  if (digest === null || mount !== null) return accepted(exchange, repo, id, 0);
  try {
    await uploads.append(repo, id, exchange.body(), lengthOf(request) ?? Number.POSITIVE_INFINITY);
    await finish(exchange, repo, id, digest);
  } catch (error) {
    // Its client never learnt of it.
    dropQuietly(uploads, repo, id);
    throw error;
  }
}

function dropQuietly(uploads: Uploads, repo: string, id: string): void {
  try {
    uploads.cancel(repo, id);
  } catch {
    // It has ended.
  }
}

async function upload(exchange: Exchange, repo: string, id: string): Promise<void> {
  const { uploads, query, response } = exchange;
  only(exchange, "GET", "HEAD", "PATCH", "PUT", "DELETE");
  const offset = uploads.offset(repo, id);
  switch (exchange.method) {
    case "PATCH":
      return accepted(exchange, repo, id, await append(exchange, repo, id, offset));
    case "PUT": {
      const digest = query.get("digest");
      if (digest === null) throw new ProtocolError("DIGEST_INVALID", "PUT without ?digest=");
      checkDigest(digest);
      await append(exchange, repo, id, offset);
      return finish(exchange, repo, id, digest);
    }
    case "DELETE":
      uploads.cancel(repo, id);
      response.writeHead(204).end();
      return;
    default:
      response.writeHead(204, uploadHeaders(repo, id, offset)).end();
  }
}

/** Takes a chunk; the new offset. A Content-Range that does not go on where the last one ended is RANGE_INVALID. */
async function append(exchange: Exchange, repo: string, id: string, offset: number): Promise<number> {
  const { request, uploads } = exchange;
  const length = lengthOf(request);
  const range = request.headers["content-range"];
  let limit = length ?? Number.POSITIVE_INFINITY;
  if (range !== undefined) {
    const parts = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/.exec(range);
    const [start, end] = [Number(parts?.[1]), Number(parts?.[2])];
    const headers = uploadHeaders(repo, id, offset);
    if (!parts || end < start) throw new ProtocolError("RANGE_INVALID", "unusable Content-Range", { headers });
    if (start !== offset) {
      throw new ProtocolError("RANGE_INVALID", `the next byte is ${offset}, not ${start}`, { headers });
    }
    if (length !== undefined && length !== end - start + 1) {
      throw new ProtocolError("SIZE_INVALID", "Content-Length and Content-Range differ");
    }
    limit = end - start + 1;
  }
  return await uploads.append(repo, id, exchange.body(), limit);
}

async function finish(exchange: Exchange, repo: string, id: string, digest: string): Promise<void> {
  await exchange.uploads.finish(repo, id, digest, (path) => exchange.store.addBlob(repo, digest, path));
  created(exchange, repo, digest);
}

function created({ response }: Exchange, repo: string, digest: string): void {
  const headers = { Location: `/v2/${repo}/blobs/${digest}`, "Docker-Content-Digest": digest, "Content-Length": 0 };
  response.writeHead(201, headers).end();
}

function accepted({ response }: Exchange, repo: string, id: string, offset: number): void {
  response.writeHead(202, { ...uploadHeaders(repo, id, offset), "Content-Length": 0 }).end();
}

function uploadHeaders(repo: string, id: string, offset: number): Record<string, string> {
  return {
    Location: `/v2/${repo}/blobs/uploads/${id}`,
    Range: `0-${Math.max(0, offset - 1)}`,
    "Docker-Upload-UUID": id,
  };
}

function tags(exchange: Exchange, repo: string): void {
  only(exchange, "GET");
  if (!exchange.store.hasRepository(repo)) {
    throw new ProtocolError("NAME_UNKNOWN", "repository name not known to registry", { detail: repo });
  }
  const { names, next } = page(exchange, (limit, last) => exchange.store.tags(repo, limit, last));
  json(exchange, { name: repo, tags: names }, next);
}

function referrers(exchange: Exchange, repo: string, digest: string): void {
  only(exchange, "GET");
  const type = exchange.query.get("artifactType") ?? undefined;
  const entries: (StoredManifest & { artifactType?: string; annotations?: Record<string, string> })[] = [];
  let size = 0;
  let next: Record<string, string> = {};
  for (const entry of exchange.store.referrers(repo, digest, type, exchange.query.get("last") ?? "")) {
    size += JSON.stringify(entry).length;
    if (size > MAX_REFERRERS && entries.length > 0) {
      const query = new URLSearchParams({
        ...(type === undefined ? {} : { artifactType: type }),
        last: entries.at(-1)!.digest,
      });
      next = { Link: `</v2/${repo}/referrers/${digest}?${query}>; rel="next"` };
      break;
    }
    entries.push(entry);
  }
  const manifests = entries.map(({ mediaType, digest: own, size: bytes, artifactType, annotations }) => ({
    mediaType,
    digest: own,
    size: bytes,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  }));
  json(
    exchange,
    { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests },
    { ...next, ...(type === undefined ? {} : { "OCI-Filters-Applied": "artifactType" }) },
    MEDIA.ociIndex,
  );
}

/** `n` and `last` of the query; a Link to what follows. */
function page(
  { query, request }: Exchange,
  list: (limit: number, last: string) => string[],
): { names: string[]; next: Record<string, string> } {
  const n = query.get("n");
  if (n !== null && !/^\d{1,9}$/.test(n)) throw new ProtocolError("PAGINATION_NUMBER_INVALID", "n is not a number");
  const limit = Math.min(n === null ? MAX_PAGE : Number(n), MAX_PAGE);
  if (limit === 0) return { names: [], next: {} };
  const names = list(limit + 1, query.get("last") ?? "");
  if (names.length <= limit) return { names, next: {} };
  names.pop();
  const path = request.url!.split("?")[0];
  const following = new URLSearchParams({ n: String(limit), last: names.at(-1)! });
  return { names, next: { Link: `<${path}?${following}>; rel="next"` } };
}

function only({ method }: Exchange, ...methods: string[]): void {
  if (methods.includes(method)) return;
  throw new ProtocolError("UNSUPPORTED", "the operation is unsupported", { headers: { Allow: methods.join(", ") } });
}

function lengthOf(request: IncomingMessage): number | undefined {
  const text = request.headers["content-length"];
  return text === undefined ? undefined : Number(text);
}

/** The whole body; more than `limit` bytes is SIZE_INVALID with status 413. */
async function small(exchange: Exchange, limit: number): Promise<Buffer> {
  const tooLarge = () => new ProtocolError("SIZE_INVALID", `larger than ${limit} bytes`, { status: 413 });
  if ((lengthOf(exchange.request) ?? 0) > limit) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of exchange.body()) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

function json(
  { response, method }: Exchange,
  value: unknown,
  headers: Record<string, string> = {},
  type = JSON_TYPE,
): void {
  const text = JSON.stringify(value);
  response.writeHead(200, { "Content-Type": type, "Content-Length": Buffer.byteLength(text), ...headers });
  response.end(method === "HEAD" ? undefined : text);
}
