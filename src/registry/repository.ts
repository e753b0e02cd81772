import { createHash } from "node:crypto";
import { isDigest, parseDigest } from "../base/digest.ts";
import { type ErrorKind, InroError, invalid } from "../base/errors.ts";
import { MEDIA } from "../spec/oci-image.ts";
import { Authorizer, type RegistryAuth } from "./auth.ts";
import type { Endpoint } from "./endpoint.ts";
import {
  type HttpAnswer,
  type HttpRequest,
  label,
  PATIENCE,
  type Patience,
  retryAfter,
  send,
  sendPatiently,
} from "./http.ts";

/** An error answer of a registry: its status and the first error code of its body (distribution-spec, "Error Codes"). */
export class RegistryError extends InroError {
  override name = "RegistryError";
  constructor(
    readonly status: number,
    readonly errorCode: string | undefined,
    message: string,
    /** Milliseconds that the registry asks to wait. */
    readonly retryAfter?: number,
    /** What the registry itself said, as `denied: requested access to the resource is denied`. */
    readonly said?: string,
  ) {
    super(kindOf(status), message);
  }
}

/** Manifest bytes as stored at the registry, already verified against `digest`. */
export interface FetchedManifest {
  bytes: Buffer;
  digest: string;
  /** Content-Type without parameters. */
  mediaType: string;
}

/** A blob, or its rest. */
export interface FetchedBlob {
  /** Position in the blob of the first byte of `body`: what was asked for, or 0 when the server ignored the range. */
  offset: number;
  /** Must be read to its end or ended by `return()`. */
  body: AsyncGenerator<Uint8Array>;
}

export const MAX_MANIFEST = 4 * 1024 * 1024;
const MAX_ERROR_BODY = 64 * 1024;
const MAX_TAGS_ANSWER = 4 * 1024 * 1024;
const MAX_TAG_PAGES = 1000;
const MAX_TAGS = 100_000;
const ACCEPT = [MEDIA.ociIndex, MEDIA.dockerList, MEDIA.ociManifest, MEDIA.dockerManifest, "*/*"].join(", ");

/** One repository at one endpoint (distribution-spec). Every request carries the authorization that the registry asked for. */
export class Repository {
  private readonly authorizer: Authorizer;

  /** `actions`: what to ask a token server for, `pull` or `pull,push`. */
  constructor(
    readonly endpoint: Endpoint,
    readonly path: string,
    auth?: RegistryAuth,
    readonly patience: Patience = PATIENCE,
    actions = "pull",
  ) {
    // Credentials are for the registry that the user named, never for its mirror.
    const own = endpoint.mirror ? undefined : auth;
    this.authorizer = new Authorizer(
      new URL(endpoint.base),
      `repository:${path}:${actions}`,
      own,
      patience,
      endpoint.tls,
    );
  }

  /** Fetches a manifest or index by tag or digest. notFound, unauthorized, forbidden, unavailable; invalid when bytes and digest differ. */
  async manifest(reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    const answer = await this.request({
      method: "GET",
      url: this.url(`manifests/${reference}`),
      signal,
      accept: ACCEPT,
    });
    await expectStatus(answer, [200]);
    const bytes = await answer.bytes(MAX_MANIFEST);
    const told = answer.header("Docker-Content-Digest");
    const expected = isDigest(reference) ? reference : told;
    if (expected !== undefined && !isDigest(expected)) {
      throw invalid(`${label(answer.request)}: unusable digest ${JSON.stringify(expected.slice(0, 100))}`);
    }
    const digest = expected ?? `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const { algorithm, hex } = parseDigest(digest);
    const actual = createHash(algorithm).update(bytes).digest("hex");
    if (actual !== hex) {
      throw invalid(`manifest verification failed for digest ${digest}: content is ${algorithm}:${actual}`);
    }
    const mediaType = (answer.header("Content-Type") ?? "").split(";")[0]!.trim().toLowerCase();
    return { bytes, digest, mediaType };
  }

  /** One request for a blob from `offset` on; the caller retries. Throws a RegistryError (416 when there is nothing at `offset`). */
  async blob(digest: string, offset: number, signal?: AbortSignal): Promise<FetchedBlob> {
    const range = offset > 0 ? { Range: `bytes=${offset}-` } : {};
    const url = this.url(`blobs/${digest}`);
    const answer = await this.request({ method: "GET", url, signal, headers: range, patient: false });
    await expectStatus(answer, [200, 206]);
    if (answer.status === 200) return { offset: 0, body: answer.chunks() };
    const start = /^bytes (\d{1,15})-/.exec(answer.header("Content-Range") ?? "")?.[1];
    if (offset === 0 || Number(start) !== offset) {
      answer.discard();
      throw new InroError("unavailable", `${label(answer.request)}: answered another range than bytes=${offset}-`);
    }
    return { offset, body: answer.chunks() };
  }

  /** Whether the repository has the blob. A registry that does not say so has it not. */
  async hasBlob(digest: string, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.request({ method: "HEAD", url: this.url(`blobs/${digest}`), signal });
    answer.discard();
    if (answer.status === 429 || answer.status >= 500) await expectStatus(answer, [200]);
    return answer.status === 200;
  }

  /** Stores a manifest under a tag or its digest. Throws a RegistryError, or unavailable when it is kept under another digest. */
  async putManifest(
    bytes: Uint8Array,
    { mediaType, digest }: { mediaType: string; digest: string },
    reference: string,
    signal?: AbortSignal,
  ): Promise<HttpAnswer> {
    const answer = await this.request({
      method: "PUT",
      url: this.url(`manifests/${reference}`),
      headers: { "Content-Type": mediaType },
      body: new Uint8Array(bytes),
      signal,
    });
    await expectStatus(answer, [200, 201, 202]);
    answer.discard();
    const kept = answer.header("Docker-Content-Digest");
    if (kept === undefined || kept === digest) return answer;
    throw new InroError(
      "unavailable",
      `${label(answer.request)}: the registry stored ${kept.slice(0, 200)}, not ${digest}`,
    );
  }

  /** All tags, over all pages. */
  async tags(signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let url: URL | null = this.url("tags/list");
    for (let page = 0; url && page < MAX_TAG_PAGES; page++) {
      const answer: HttpAnswer = await this.request({ method: "GET", url, signal });
      await expectStatus(answer, [200]);
      const body = parseObject(await answer.bytes(MAX_TAGS_ANSWER));
      if (Array.isArray(body.tags)) tags.push(...body.tags.filter((tag): tag is string => typeof tag === "string"));
      if (tags.length > MAX_TAGS) throw invalid(`${label(answer.request)}: more than ${MAX_TAGS} tags`);
      url = this.following(answer, url);
    }
    return tags;
  }

  /** The next page that a Link header names, at the same server (RFC 8288). */
  following(answer: HttpAnswer, url: URL): URL | null {
    const next = /<([^>]{1,4096})>\s*;\s*rel="?next"?/i.exec(answer.header("Link") ?? "")?.[1];
    const following: URL | null = next === undefined ? null : URL.parse(next, url.href);
    return following?.origin === url.origin ? following : null;
  }

  /** A blob of at most `limit` bytes, verified. Throws a RegistryError, or invalid. */
  async smallBlob(
    { digest, size }: { digest: string; size: number },
    limit: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    const { algorithm, hex } = parseDigest(digest);
    if (size > limit) throw invalid(`blob ${digest} has ${size} bytes, more than the ${limit} allowed here`);
    const answer = await this.request({ method: "GET", url: this.url(`blobs/${digest}`), signal });
    await expectStatus(answer, [200]);
    const bytes = await answer.bytes(size);
    if (createHash(algorithm).update(bytes).digest("hex") === hex) return bytes;
    throw invalid(`blob verification failed for digest ${digest}`);
  }

  /** Sends a request, answering one 401 with what it asks for. The answer may have any status. */
  async request(request: {
    method: HttpRequest["method"];
    url: URL;
    headers?: Record<string, string>;
    accept?: string;
    body?: HttpRequest["body"];
    signal?: AbortSignal | undefined;
    /** False: lost connections and 5xx are the caller's to retry. */
    patient?: boolean;
    /** Milliseconds of silence, in place of the usual. */
    idle?: number;
  }): Promise<HttpAnswer> {
    for (let again = true; ; again = false) {
      // An upload may go to another host, which the registry names in Location: it gets no credentials.
      const own = request.url.origin === new URL(this.endpoint.base).origin;
      const authorization = own ? await this.authorizer.header(request.signal) : undefined;
      const headers = { ...request.headers, Accept: request.accept ?? "*/*" };
      const sent: HttpRequest = {
        method: request.method,
        url: request.url,
        headers: authorization === undefined ? headers : { ...headers, Authorization: authorization },
        signal: request.signal,
        tls: this.endpoint.tls,
        ...(request.body ? { body: request.body } : {}),
      };
      const answer =
        request.patient === false
          ? await send(sent, request.idle ?? this.patience.idle)
          : await sendPatiently(sent, this.patience);
      const challenge = answer.header("WWW-Authenticate");
      // CVE-2020-15157: only the registry itself may ask for its credentials, not a server that it redirects to.
      const asked = own && answer.request.url.origin === request.url.origin;
      if (!again || !asked || answer.status !== 401 || challenge === undefined) return answer;
      if (!(await this.authorizer.challenged(challenge, authorization, request.signal))) return answer;
      answer.discard();
    }
  }

  url(rest: string): URL {
    const { base, whole, namespace } = this.endpoint;
    const url = new URL(`${base}${whole ? "" : "/v2"}/${this.path}/${rest}`);
    if (namespace !== undefined) url.searchParams.set("ns", namespace);
    return url;
  }
}

/** Throws the RegistryError of an answer whose status is none of `statuses`; takes its body. */
export async function expectStatus(answer: HttpAnswer, statuses: number[]): Promise<void> {
  if (statuses.includes(answer.status)) return;
  const body = parseObject(await answer.bytes(MAX_ERROR_BODY).catch(() => Buffer.alloc(0)));
  const first = Array.isArray(body.errors) ? Object(body.errors[0]) : {};
  const code = printable(first.code);
  const said = [code?.toLowerCase().replaceAll("_", " "), printable(first.message)].filter(Boolean).join(": ");
  const why = said || `status ${answer.status}`;
  throw new RegistryError(
    answer.status,
    code,
    `${label(answer.request)}: ${why}${limits(answer)}`,
    retryAfter(answer.header("Retry-After")),
    said ? `${said}${limits(answer)}` : undefined,
  );
}

/** What a registry that has had enough says of its limit (RateLimit headers of draft-ietf-httpapi-ratelimit-headers, as Docker Hub sends them). */
function limits(answer: HttpAnswer): string {
  if (answer.status !== 429) return "";
  const [, limit, window] = /^(\d{1,12})(?:;w=(\d{1,12}))?/.exec(answer.header("RateLimit-Limit") ?? "") ?? [];
  const left = /^\d{1,12}/.exec(answer.header("RateLimit-Remaining") ?? "")?.[0];
  const wait = retryAfter(answer.header("Retry-After"));
  const parts = [
    limit && `the limit is ${limit}${window ? ` in ${window} s` : ""}`,
    left && `${left} left`,
    wait && `try again in ${Math.ceil(wait / 1000)} s`,
  ];
  const text = parts.filter(Boolean).join(", ");
  return text && ` (${text})`;
}

function kindOf(status: number): ErrorKind {
  if (status === 404) return "notFound";
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  return status === 429 || status >= 500 ? "unavailable" : "internal";
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(bytes.toString()));
  } catch {
    return {};
  }
}

/** A server's text for a terminal: one line without control characters. */
function printable(text: unknown): string | undefined {
  return typeof text === "string" && text !== ""
    ? text.slice(0, 500).replace(/[\x00-\x1f\x7f-\x9f]+/g, " ")
    : undefined;
}
