import { unavailable } from "../base/errors.ts";
import type { Descriptor } from "../spec/oci-image.ts";
import { type HttpAnswer, isTransient, label, MAX_PAUSE, type Patience } from "./http.ts";
import { pause } from "./pause.ts";
import { expectStatus, RegistryError, type Repository } from "./repository.ts";

/** Where a blob is at the registry: in the repository already, mounted from another, or not yet. */
export type Located = { at: "repository" } | { at: "mounted"; from: string } | { at: "nowhere"; session?: URL };

export interface UploadOptions {
  repository: Repository;
  descriptor: Pick<Descriptor, "digest" | "size">;
  /** The blob's bytes from `offset` on; asked again after a lost connection. */
  open(offset: number): AsyncIterable<Uint8Array>;
  /** An upload that {@link locate} has begun. */
  session?: URL | undefined;
  patience: Patience;
  signal: AbortSignal;
  /** Bytes of the blob that are sent. */
  onProgress?(current: number): void;
  onRetry?(seconds: number): void;
}

/** Up to this a blob goes along with the request that ends its upload. */
const SMALL = 1 << 20;
/** What is tried for a registry, or a proxy before it, that refuses large bodies. */
const SMALLEST_CHUNK = 256 << 10;
const MAX_MOUNTS = 3;
const MAX_TRIES = 100;
/** A registry may take its time to store what it has. */
const COMMIT_PATIENCE = 5;

/**
 * Looks for a blob, and asks to mount it from the repositories `mounts` (paths at the same registry) where it is not
 * there (distribution-spec, "Mounting a blob from another repository").
 */
export async function locate(
  repository: Repository,
  digest: string,
  mounts: readonly string[],
  signal: AbortSignal,
): Promise<Located> {
  if (await repository.hasBlob(digest, signal)) return { at: "repository" };
  let session: URL | undefined;
  for (const from of mounts.slice(0, MAX_MOUNTS)) {
    const url = repository.url("blobs/uploads/");
    url.searchParams.set("mount", digest);
    url.searchParams.set("from", from);
    const answer = await repository.request({ method: "POST", url, signal });
    answer.discard();
    if (answer.status === 201) {
      if (session) await cancel(repository, session, signal);
      return { at: "mounted", from };
    }
    // The registry has begun an upload instead; one is enough.
    const begun = answer.status === 202 ? location(repository, answer) : undefined;
    if (begun && session) await cancel(repository, begun, signal);
    else session ??= begun;
  }
  return { at: "nowhere", ...(session ? { session } : {}) };
}

/**
 * Uploads one blob that is not there (distribution-spec, "Pushing blobs"): in one request when it is small, else as a
 * stream, which goes on after a lost connection where the registry says that it ended. A body that is too large for the
 * registry or a proxy is sent in chunks. A failure cancels the upload. Throws RegistryError, unavailable, or the signal's
 * reason.
 */
export async function upload(options: UploadOptions): Promise<void> {
  const { repository, descriptor, patience, signal } = options;
  const state = new Upload(options);
  let fruitless = 0;
  let best = 0;
  for (let tries = 1; ; tries++) {
    try {
      await state.attempt();
      return;
    } catch (error) {
      if (signal.aborted || !state.mayGoOn(error) || tries >= MAX_TRIES) {
        await state.cancel();
        throw error;
      }
      const smaller = error instanceof RegistryError && error.status === 413;
      fruitless = state.offset > best || smaller ? 1 : fruitless + 1;
      best = Math.max(best, state.offset);
      if (fruitless >= patience.attempts) {
        await state.cancel();
        throw error;
      }
      const asked = error instanceof RegistryError ? error.retryAfter : undefined;
      const wait = Math.min(asked ?? patience.retryDelay * 2 ** (fruitless - 1), MAX_PAUSE);
      options.onRetry?.(Math.ceil(wait / 1000));
      await pause(wait, signal);
      // What seemed to fail may have been stored.
      if (await repository.hasBlob(descriptor.digest, signal).catch(() => false)) return;
      await state.recover();
    }
  }
}

class Upload {
  offset = 0;
  #session: URL | undefined;
  #chunk = Number.POSITIVE_INFINITY;
  #least = SMALLEST_CHUNK;
  /** Where the last request began that was refused as out of order. */
  #refused = -1;

  constructor(private readonly options: UploadOptions) {
    this.#session = options.session;
  }

  async attempt(): Promise<void> {
    const { repository, signal, descriptor } = this.options;
    this.#session ??= await this.#begin();
    if (descriptor.size > SMALL || this.offset > 0 || this.#chunk < descriptor.size) {
      while (this.offset < descriptor.size) await this.#patch();
      await this.#commit();
      return;
    }
    const answer = await repository.request({ ...this.#request("PUT", descriptor.size), signal });
    await expectStatus(answer, [201]);
    answer.discard();
  }

  /** Takes in what went wrong; false when another try is in vain. */
  mayGoOn(error: unknown): boolean {
    if (isTransient(error)) return true;
    if (!(error instanceof RegistryError)) return false;
    const { status, retryAfter = 0 } = error;
    if (retryAfter > MAX_PAUSE) return false;
    if (status === 413) {
      const next = Math.min(this.#chunk, this.options.descriptor.size) / 2;
      this.#chunk = Math.ceil(next);
      return next >= this.#least;
    }
    if (status === 416 || status === 404) {
      if (this.#refused === this.offset || status === 404) this.#session = undefined;
      this.#refused = this.offset;
      return true;
    }
    return status === 408 || status === 429 || status >= 500;
  }

  /** Asks how far the upload got (distribution-spec, "Pushing a blob in chunks"); one that is unknown begins anew. */
  async recover(): Promise<void> {
    const { repository, signal } = this.options;
    const session = this.#session;
    this.offset = 0;
    if (!session) return;
    const answer = await repository.request({ method: "GET", url: session, signal });
    answer.discard();
    if (answer.status !== 204 && answer.status !== 202 && answer.status !== 200) {
      this.#session = undefined;
      return;
    }
    this.#session = location(repository, answer) ?? session;
    this.offset = this.#taken(answer) ?? 0;
  }

  async cancel(): Promise<void> {
    if (this.#session) await cancel(this.options.repository, this.#session);
  }

  async #begin(): Promise<URL> {
    const { repository, signal } = this.options;
    const answer = await repository.request({ method: "POST", url: repository.url("blobs/uploads/"), signal });
    await expectStatus(answer, [202]);
    answer.discard();
    const least = Number(answer.header("OCI-Chunk-Min-Length"));
    if (Number.isSafeInteger(least) && least > SMALLEST_CHUNK) this.#least = least;
    const session = location(repository, answer);
    if (!session) throw unavailable(`${label(answer.request)}: the answer names no place for the upload`);
    return session;
  }

  async #patch(): Promise<void> {
    const { repository, signal, descriptor } = this.options;
    const length = Math.min(descriptor.size - this.offset, this.#chunk);
    const begin = this.offset;
    const request = this.#request("PATCH", length);
    if (length < descriptor.size) request.headers["Content-Range"] = `${begin}-${begin + length - 1}`;
    const answer = await repository.request({ ...request, signal });
    await expectStatus(answer, [202]);
    answer.discard();
    this.#session = location(repository, answer) ?? this.#session;
    this.offset = this.#taken(answer) ?? begin + length;
    if (this.offset <= begin) throw unavailable(`${label(answer.request)}: the registry has taken nothing`);
  }

  async #commit(): Promise<void> {
    const { repository, signal } = this.options;
    const answer = await repository.request({ ...this.#request("PUT", 0), signal });
    await expectStatus(answer, [201]);
    answer.discard();
  }

  #request(method: "PUT" | "PATCH", length: number) {
    const { descriptor, patience } = this.options;
    const url = new URL(this.#session!);
    if (method === "PUT") url.searchParams.set("digest", descriptor.digest);
    const headers: Record<string, string> = {
      "Content-Type": "application/octet-stream",
      "Content-Length": String(length),
    };
    const body = (alive: () => void) => this.#body(length, alive);
    const idle = patience.idle * COMMIT_PATIENCE;
    return { method, url, headers, patient: false, idle, ...(length === 0 ? {} : { body }) };
  }

  #body(length: number, alive: () => void): ReadableStream<Uint8Array> {
    const { open, onProgress } = this.options;
    const begin = this.offset;
    const bytes = open(begin)[Symbol.asyncIterator]();
    let sent = 0;
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          alive();
          const { value } = sent < length ? await bytes.next() : { value: undefined };
          if (value === undefined) {
            await bytes.return?.();
            if (sent < length) controller.error(new Error(`the blob ended ${length - sent} bytes early`));
            else controller.close();
            return;
          }
          const part = value.subarray(0, length - sent);
          sent += part.length;
          controller.enqueue(part);
          onProgress?.(begin + sent);
        },
        async cancel() {
          await bytes.return?.();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Bytes that a Range header (`0-<last>`) says are there; 0-0 is also what registries say of none. */
  #taken(answer: HttpAnswer): number | undefined {
    const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(answer.header("Range") ?? "")?.[1];
    if (last === undefined) return undefined;
    const taken = last === "0" && this.options.descriptor.size > 1 ? 0 : Number(last) + 1;
    return Math.min(taken, this.options.descriptor.size);
  }
}

/** The upload's address in an answer; undefined where there is none. Throws unavailable for an unusable one. */
function location(repository: Repository, answer: HttpAnswer): URL | undefined {
  const text = answer.header("Location");
  if (text === undefined) return undefined;
  const base = new URL(repository.endpoint.base);
  const url = URL.parse(text, answer.request.url.href);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw unavailable(`${label(answer.request)}: the upload has an unusable address`);
  }
  // A registry behind a proxy that speaks TLS for it does not always know.
  if (base.protocol === "https:" && url.protocol === "http:" && url.hostname === base.hostname) {
    url.protocol = "https:";
    if (url.port === "80" || url.port === "") url.port = base.port;
  }
  if (base.protocol === "https:" && url.protocol === "http:") {
    throw unavailable(`${label(answer.request)}: upload to plain http (${url.host}) refused`);
  }
  url.username = "";
  url.password = "";
  return url;
}

/** The registry forgets an upload by itself too, later. */
async function cancel(repository: Repository, session: URL, signal?: AbortSignal): Promise<void> {
  try {
    const end = AbortSignal.any([...(signal ? [signal] : []), AbortSignal.timeout(2000)]);
    (await repository.request({ method: "DELETE", url: session, patient: false, signal: end })).discard();
  } catch {}
}
