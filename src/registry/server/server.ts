import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { messageOf } from "../../base/errors.ts";
import { ProtocolError } from "./errors.ts";
import { route } from "./routes.ts";
import { RegistryStore } from "./store.ts";
import { Uploads } from "./uploads.ts";
import { Users } from "./users.ts";

export interface RegistryOptions {
  /** Directory of the registry's data; made when it is not there. */
  data: string;
  /** htpasswd file: with it every request needs a user and his password. */
  htpasswd?: string;
  /** PEM. */
  tls?: { cert: Buffer; key: Buffer };
  /** Only pulls. */
  readOnly?: boolean;
  /** Where errors that are nobody's request go. */
  log?: (line: string) => void;
  /** Milliseconds without a byte after which an upload's connection is given up. */
  silence?: number;
}

const HOUR = 3_600_000;
const UPLOAD_AGE = 24 * HOUR;
/** A push has this long between its first blob and its manifest. */
const GRACE = 24 * HOUR;
const SILENCE = 120_000;
/** What is read of a refused body, so that its sender reads the answer. */
const DRAIN = 1024 * 1024;
const MAX_URL = 8192;

/**
 * A registry of the distribution-spec v1.1 over one directory. {@link listen} binds it; {@link close} ends connections
 * and gives the directory free. Throws conflict for a directory that another process uses, invalid for bad users.
 */
export class Registry {
  readonly store: RegistryStore;
  readonly uploads: Uploads;
  readonly #server: Server;
  readonly #users: Users | undefined;
  readonly #options: RegistryOptions;
  readonly #timer: Timer;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#users = options.htpasswd === undefined ? undefined : new Users(options.htpasswd);
    this.store = new RegistryStore(options.data);
    this.uploads = new Uploads(options.data);
    const answer = (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response);
    this.#server = options.tls ? createTlsServer(options.tls, answer) : createServer(answer);
    // Blobs take as long as they take; silence is what ends them.
    this.#server.requestTimeout = 0;
    this.#timer = setInterval(() => void this.tidy(), HOUR);
    this.#timer.unref();
  }

  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => resolve((this.#server.address() as { port: number }).port));
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
    this.store.close();
  }

  /** Removes uploads that nobody goes on with, and blobs of pushes that never ended. */
  async tidy(): Promise<void> {
    try {
      this.uploads.sweep(UPLOAD_AGE);
      if (!this.#options.readOnly) await this.store.collect({ grace: GRACE });
    } catch (error) {
      this.#options.log?.(`collect: ${messageOf(error)}`);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("Docker-Distribution-Api-Version", "registry/2.0");
    response.on("error", () => {});
    try {
      await this.#handle(request, response);
    } catch (error) {
      this.#fail(request, response, error);
    }
    if (!request.complete) this.#drain(request);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? "";
    const [path = "", search = ""] = splitOnce(request.url ?? "", "?");
    if ((request.url ?? "").length > MAX_URL) {
      throw new ProtocolError("NAME_INVALID", "the address is too long", { status: 414 });
    }
    const reading = method === "GET" || method === "HEAD";
    // A page in a browser may send a POST anywhere; clients of registries have no origin.
    if (!reading && request.headers.origin !== undefined) throw new ProtocolError("DENIED", "not for web pages");
    if (this.#users && !(await this.#users.allows(request.headers.authorization))) {
      const headers = { "WWW-Authenticate": 'Basic realm="inro registry", charset="UTF-8"' };
      throw new ProtocolError("UNAUTHORIZED", "authentication required", { headers });
    }
    if (!reading && this.#options.readOnly) throw new ProtocolError("UNSUPPORTED", "this registry is read-only");
    if (path !== "/v2" && !path.startsWith("/v2/")) {
      throw new ProtocolError("UNSUPPORTED", "no such endpoint", { status: 404 });
    }
    const segments = path.slice("/v2/".length).split("/").map(decoded);
    const exchange = {
      request,
      response,
      method,
      query: new URLSearchParams(search),
      store: this.store,
      uploads: this.uploads,
      body: () => heard(request, this.#options.silence ?? SILENCE),
    };
    await route(exchange, segments);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    let failure: ProtocolError;
    if (error instanceof ProtocolError) failure = error;
    else {
      // A client that has gone is no failure of ours.
      if (!request.destroyed && !request.socket?.destroyed)
        this.#options.log?.(`${request.method} ${request.url}: ${messageOf(error)}`);
      failure = new ProtocolError("UNKNOWN", "the registry failed; its log says why");
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const body = failure.body();
    response.writeHead(failure.status, {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
      ...failure.headers,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  /** Reads on for a while, since a connection that is closed too early takes the answer along. */
  #drain(request: IncomingMessage): void {
    let seen = 0;
    const timer = setTimeout(() => request.destroy(), 5000);
    request.on("data", (chunk: Uint8Array) => {
      seen += chunk.length;
      if (seen > DRAIN) request.destroy();
    });
    for (const event of ["end", "close", "error"]) request.on(event, () => clearTimeout(timer));
  }
}

/** A request's body, which ends with an error when nothing comes for `silence` milliseconds. */
async function* heard(request: IncomingMessage, silence: number): AsyncGenerator<Uint8Array> {
  // Who stops reading still has an answer to give on this connection.
  const chunks = request.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  for (;;) {
    let timer: Timer | undefined;
    const silent = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        request.socket.destroy();
        reject(new Error("the client has been silent for too long"));
      }, silence);
    });
    const next = await Promise.race([chunks.next(), silent]).finally(() => clearTimeout(timer));
    if (next.done) break;
    yield next.value as Uint8Array;
  }
  if (!request.complete) throw new Error("the client ended in the middle of the body");
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ProtocolError("NAME_INVALID", "unusable escape in the address");
  }
}

function splitOnce(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
