import { codeOf, InroError, messageOf, unavailable } from "../base/errors.ts";
import { pause } from "./pause.ts";
import type { Tls } from "./tls.ts";

/** How patient requests are; tests shorten it. */
export interface Patience {
  /** Tries of one request or one blob without progress. */
  attempts: number;
  /** Milliseconds before the second try; doubled for each further one. */
  retryDelay: number;
  /** Milliseconds without a byte after which a connection counts as lost. */
  idle: number;
}

export const PATIENCE: Patience = { attempts: 5, retryDelay: 1000, idle: 60_000 };

export interface HttpRequest {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  url: URL;
  headers: Record<string, string>;
  /** A function is called for each try; what it answers is sent as it comes, and `alive` is called for every part. */
  body?: Uint8Array<ArrayBuffer> | string | ((alive: () => void) => ReadableStream<Uint8Array>);
  signal?: AbortSignal | undefined;
  /** The certificates for the server that is spoken to, which a redirect may change. */
  tls?: ((url: URL) => Tls | undefined) | undefined;
}

const MAX_REDIRECTS = 10;
export const MAX_PAUSE = 60_000;

/** An HTTP answer whose body is not read yet: the caller reads it to its end or calls {@link discard}. */
export class HttpAnswer {
  constructor(
    readonly request: HttpRequest,
    private readonly response: Response,
    private readonly controller: AbortController,
    private readonly idle: number,
  ) {}

  get status(): number {
    return this.response.status;
  }

  header(name: string): string | undefined {
    return this.response.headers.get(name) ?? undefined;
  }

  discard(): void {
    this.controller.abort();
    this.response.body?.cancel().catch(() => {});
  }

  /** The body as it comes; a lost or silent connection is an `unavailable` error, an abort throws the signal's reason. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const reader = this.response.body?.getReader();
    if (!reader) return;
    let done = false;
    try {
      for (;;) {
        const chunk = await guarded(this.request, this.controller, this.idle, () => reader.read());
        done = chunk.done;
        if (chunk.done) return;
        yield chunk.value;
      }
    } finally {
      if (!done) this.discard();
    }
  }

  /** The whole body; more than `limit` bytes is an invalid error. */
  async bytes(limit: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.chunks()) {
      size += chunk.length;
      if (size > limit) throw new InroError("invalid", `${label(this.request)}: answer is larger than ${limit} bytes`);
      parts.push(chunk);
    }
    return Buffer.concat(parts);
  }
}

/** `GET https://host/path`, without a query: those carry signatures. */
export function label({ method, url }: Pick<HttpRequest, "method" | "url">): string {
  return `${method} ${url.origin}${url.pathname}`;
}

/**
 * One request with its redirects (GET and HEAD only, at most 10). Authorization goes to the first origin only, and
 * https never becomes http. Rejects with the signal's reason or with an `unavailable` error whose cause is fetch's.
 */
export async function send(request: HttpRequest, idle: number): Promise<HttpAnswer> {
  let url = request.url;
  for (let redirects = 0; ; redirects++) {
    const headers = new Headers({ "User-Agent": "inro", "Accept-Encoding": "identity", ...request.headers });
    if (url.origin !== request.url.origin) headers.delete("Authorization");
    const controller = new AbortController();
    const current = { ...request, url };
    const tls = url.protocol === "https:" ? request.tls?.(url) : undefined;
    const response = await guarded(current, controller, idle, (alive) =>
      fetch(url, {
        method: request.method,
        headers,
        redirect: "manual",
        // The bytes are hashed as sent; a server that compresses in spite of "identity" is found out by the digest.
        decompress: false,
        signal: controller.signal,
        ...(tls ? { tls: { ...tls, ca: tls.ca && [...tls.ca] } } : {}),
        ...(request.body === undefined
          ? {}
          : { body: typeof request.body === "function" ? request.body(alive) : request.body }),
      }),
    );
    const answer = new HttpAnswer(current, response, controller, idle);
    const location = answer.header("Location");
    const redirected = [301, 302, 303, 307, 308].includes(response.status) && location !== undefined;
    if (!redirected || (request.method !== "GET" && request.method !== "HEAD")) return answer;
    answer.discard();
    if (redirects === MAX_REDIRECTS) throw unavailable(`${label(request)}: more than ${MAX_REDIRECTS} redirects`);
    url = redirectTarget(url, location, request);
  }
}

function redirectTarget(from: URL, location: string, request: HttpRequest): URL {
  const target = URL.parse(location, from.href);
  if (!target || (target.protocol !== "https:" && target.protocol !== "http:")) {
    throw unavailable(`${label(request)}: redirect to an unusable address`);
  }
  if (from.protocol === "https:" && target.protocol === "http:") {
    throw unavailable(`${label(request)}: redirect from https to http (${target.host}) refused`);
  }
  target.username = "";
  target.password = "";
  return target;
}

/** {@link send}, repeated with growing pauses on 408, 429, 5xx and lost connections; the last answer is returned whatever it is. */
export async function sendPatiently(request: HttpRequest, patience: Patience): Promise<HttpAnswer> {
  for (let attempt = 1; ; attempt++) {
    let wait = patience.retryDelay * 2 ** (attempt - 1);
    try {
      const answer = await send(request, patience.idle);
      const worth = answer.status === 408 || answer.status === 429 || (answer.status >= 500 && answer.status !== 501);
      if (!worth || attempt >= patience.attempts) return answer;
      wait = retryAfter(answer.header("Retry-After")) ?? wait;
      // Nobody waits for hours: the error says how long it is.
      if (wait > MAX_PAUSE) return answer;
      answer.discard();
    } catch (error) {
      if (!isTransient(error) || attempt >= patience.attempts) throw error;
    }
    await pause(wait, request.signal);
  }
}

/** Milliseconds that a Retry-After header asks for (RFC 9110 section 10.2.3: seconds or a date). */
export function retryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** True for errors after which the same request may succeed: a lost, silent or timed out connection. */
export function isTransient(error: unknown): boolean {
  return error instanceof Error && transientErrors.has(error);
}

const transientErrors = new WeakSet<Error>();
const TRANSIENT = new Set(["ECONNRESET", "ConnectionClosed", "ConnectionReset", "ETIMEDOUT", "Timeout", "EPIPE"]);

/** Runs one step of a request; ends it when the caller's signal or the idle limit says so. */
async function guarded<T>(
  request: HttpRequest,
  controller: AbortController,
  idle: number,
  step: (alive: () => void) => Promise<T>,
): Promise<T> {
  const { signal } = request;
  signal?.throwIfAborted();
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    controller.abort();
  }, idle);
  const onAbort = () => controller.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await step(() => timer.refresh());
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const refused = codeOf(error) === "ECONNREFUSED" && `ECONNREFUSED: nothing listens at ${request.url.host}`;
    const why = silent ? `no data for ${Math.round(idle / 1000)} s` : refused || messageOf(error);
    const failure = unavailable(`${label(request)}: ${why}`, error);
    if (silent || TRANSIENT.has(codeOf(error) ?? "")) transientErrors.add(failure);
    throw failure;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
