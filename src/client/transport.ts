import { ApiError } from "./api-error.ts";
import { type Connection, connect } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { formatRequest, MessageReader, type ResponseHead, readBody, readHead } from "./http.ts";

export type QueryValue = string | number | boolean | undefined | string[];

export interface Request {
  method: string;
  /** Path below the API root; already encoded. */
  path: string;
  /** undefined entries are left out, arrays repeat the key. */
  query?: Record<string, QueryValue>;
  headers?: Record<string, string>;
  /** JSON-encoded. */
  json?: unknown;
  /** A body of unknown length; sent while the response is awaited. */
  stream?: AsyncIterable<Uint8Array>;
}

export interface Response extends ResponseHead {
  /** To be read to its end, or given up by `close`. */
  body: AsyncGenerator<Uint8Array>;
  text(): Promise<string>;
  json<T>(): Promise<T>;
  /** Gives up the rest of the body together with its connection. */
  close(): void;
}

/** A connection that stopped being HTTP: bytes both ways, halves closed independently. */
export interface Hijacked {
  readonly head: ResponseHead;
  read(): Promise<Uint8Array | undefined>;
  write(data: Uint8Array): Promise<void>;
  /** No more input: the engine closes the process's stdin. */
  end(): void;
  close(): void;
}

const MAX_TEXT = 64 << 20;

/**
 * Requests to one engine. Connections are reused after a fully read response; `close` ends the idle ones.
 * `onUnreachable` may make the engine reachable (start it) and return true for one more try.
 */
export class Transport {
  #idle: MessageReader[] = [];

  constructor(
    readonly endpoint: Endpoint,
    private readonly options: {
      onUnreachable?: ((error: unknown) => Promise<boolean>) | undefined;
      /** e.g. "1.44": requests go to /v1.44/…; by default the engine's own version serves. */
      version?: string | undefined;
      /** Sent with each of them. */
      headers?: Record<string, string>;
    } = {},
  ) {}

  /** Sends a request; resolves at the response's head. Status 400 and above rejects with ApiError. */
  async request(request: Request): Promise<Response> {
    const { reader, head } = await this.#exchange(request, {});
    const release = (reusable: boolean) => {
      if (reusable && reader.buffered === 0 && reader.connection.usable) {
        reader.started = false;
        reader.connection.keepAlive(false);
        this.#idle.push(reader);
      } else reader.connection.close();
    };
    const body = readBody(reader, head, request.method, release);
    const response: Response = {
      ...head,
      body,
      text: () => readText(body),
      json: async <T>() => JSON.parse(await readText(body)) as T,
      close: () => reader.connection.close(),
    };
    if (head.status < 400) return response;
    throw apiError(await readText(body), head);
  }

  /** Sends a request that turns the connection into a byte stream (Engine API, "hijacking"), of `protocol`. */
  async hijack(request: Request, protocol = "tcp"): Promise<Hijacked> {
    const { reader, head } = await this.#exchange(request, { Connection: "Upgrade", Upgrade: protocol });
    const { connection } = reader;
    if (head.status >= 400 || (head.status !== 101 && head.status !== 200)) {
      const text = await readText(readBody(reader, head, request.method, () => connection.close()));
      throw apiError(text, head);
    }
    return {
      head,
      read: () => reader.chunk(),
      write: (data) => connection.write(data),
      end: () => connection.end(),
      close: () => connection.close(),
    };
  }

  /** A connection for the caller's own use, who closes it. */
  open(): Promise<Connection> {
    return this.#connect();
  }

  /** Closes the idle connections. */
  close(): void {
    for (const reader of this.#idle) reader.connection.close();
    this.#idle = [];
  }

  async #exchange(
    request: Request,
    extra: Record<string, string>,
  ): Promise<{ reader: MessageReader; head: ResponseHead }> {
    const json = request.json === undefined ? undefined : new TextEncoder().encode(JSON.stringify(request.json));
    const { version } = this.options;
    const headers: Record<string, string> = {
      Host: this.endpoint.kind === "tcp" ? `${this.endpoint.host}:${this.endpoint.port}` : "inro",
      ...this.options.headers,
      ...request.headers,
      ...extra,
    };
    if (json) Object.assign(headers, { "Content-Type": "application/json", "Content-Length": String(json.length) });
    else if (request.stream) headers["Transfer-Encoding"] = "chunked";
    else if (request.method !== "GET" && request.method !== "HEAD") headers["Content-Length"] = "0";
    const target = `${version ? `/v${version}` : ""}${request.path}${formatQuery(request.query)}`;
    const head = new TextEncoder().encode(formatRequest(request.method, target, headers));
    const message = json ? joined(head, json) : head;

    for (;;) {
      const reused = request.stream ? undefined : this.#takeIdle();
      const reader = reused ?? new MessageReader(await this.#connect());
      try {
        // A refused or half-read request still has an answer to read, so the writing error waits for it.
        const sending = send(reader.connection, message, request.stream).catch((error: unknown) => error as Error);
        const answer = readHead(reader);
        const sent = request.stream ? undefined : await sending;
        if (sent && !reader.started) {
          await answer.catch(() => {});
          throw sent;
        }
        return { reader, head: await answer };
      } catch (error) {
        reader.connection.close();
        // The engine had closed an idle connection: nothing of this request was seen.
        if (reused && !reader.started) continue;
        throw error;
      }
    }
  }

  #takeIdle(): MessageReader | undefined {
    for (let reader = this.#idle.pop(); reader; reader = this.#idle.pop()) {
      if (reader.connection.usable) {
        reader.connection.keepAlive(true);
        return reader;
      }
      reader.connection.close();
    }
    return undefined;
  }

  async #connect(): Promise<Connection> {
    try {
      return await connect(this.endpoint);
    } catch (error) {
      if (!(await this.options.onUnreachable?.(error))) throw error;
      return connect(this.endpoint);
    }
  }
}

async function send(connection: Connection, head: Uint8Array, stream?: AsyncIterable<Uint8Array>): Promise<undefined> {
  await connection.write(head);
  if (!stream) return;
  const encoder = new TextEncoder();
  for await (const chunk of stream) {
    if (chunk.length === 0) continue;
    await connection.write(encoder.encode(`${chunk.length.toString(16)}\r\n`));
    await connection.write(chunk);
    await connection.write("\r\n");
  }
  await connection.write("0\r\n\r\n");
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_TEXT) throw new Error("response too large");
  }
  return text + decoder.decode();
}

function apiError(text: string, head: ResponseHead): ApiError {
  return new ApiError(head.status, errorText(text, head), head.headers.get("server"));
}

function errorText(text: string, head: ResponseHead): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message;
  } catch {
    // Plain text from a proxy or an old daemon.
  }
  return text.trim() || `${head.status} ${head.reason}`.trim();
}

/** `?a=1&b=x`, or nothing. */
export function formatQuery(query: Record<string, QueryValue> | undefined): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      parts.push(`${encodeURIComponent(key)}=${encodeURIComponent(one === true ? "1" : one === false ? "0" : one)}`);
    }
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
