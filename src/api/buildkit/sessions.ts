import type { ClientHttp2Session } from "node:http2";
import { connect } from "node:http2";
import { Duplex } from "node:stream";
import { conflict, invalid, notFound } from "../../base/errors.ts";
import type { Call, Handler } from "../call.ts";

/** A client that offers its services (files, secrets, agents, credentials) on a connection of its own. */
export interface Session {
  readonly id: string;
  /** What contexts are kept by from one build to the next. */
  readonly sharedKey: string;
  /** `/package.Service/Method`, lower case. */
  readonly methods: ReadonlySet<string>;
  readonly http2: ClientHttp2Session;
  /** Aborts when the client has left. */
  readonly gone: AbortSignal;
}

const ID = /^[A-Za-z0-9_-]{1,128}$/;
const MOST_SESSIONS = 1000;
const WAIT_MS = 10_000;

const sessions = new Map<string, Session>();
const waiting = new Map<string, Set<() => void>>();

/** The session of this id; one that is still to come is waited for a few seconds. notFound then. */
export async function sessionOf(id: string, signal: AbortSignal): Promise<Session> {
  const known = sessions.get(id);
  if (known) return known;
  if (!ID.test(id)) throw invalid("no id of a session");
  const late = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]);
  await new Promise<void>((resolve) => {
    const wakes = waiting.get(id) ?? new Set();
    const wake = () => {
      wakes.delete(wake);
      if (wakes.size === 0) waiting.delete(id);
      resolve();
    };
    waiting.set(id, wakes.add(wake));
    late.addEventListener("abort", wake, { once: true });
  });
  signal.throwIfAborted();
  const session = sessions.get(id);
  if (!session) throw notFound(`no active session for ${id}: its client did not connect`);
  return session;
}

/** `POST /session`: the connection becomes one of HTTP/2, on which the engine is the client. */
export const sessionRoutes: Record<string, Handler> = {
  "POST /session": async (call) => {
    if (!call.upgrade || header(call, "upgrade")?.toLowerCase() !== "h2c") {
      throw invalid("no upgrade in request: a session is HTTP/2 without TLS (h2c)");
    }
    const id = header(call, "x-docker-expose-session-uuid") ?? "";
    if (!ID.test(id)) throw invalid("X-Docker-Expose-Session-Uuid is missing, or no id");
    if (sessions.has(id)) throw conflict(`session ${id} is there already`);
    if (sessions.size >= MOST_SESSIONS) throw conflict(`more than ${MOST_SESSIONS} sessions`);
    const methods = (header(call, "x-docker-expose-session-grpc-method") ?? "").toLowerCase().split(/,\s*/);
    const connection = new Connection();
    const gone = new AbortController();
    // After the answer's header has gone out.
    setImmediate(() => {
      const http2 = connect("http://localhost", { createConnection: () => connection.far as never });
      const leave = () => {
        sessions.delete(id);
        gone.abort(notFound("the client of the build has left"));
        connection.close();
      };
      http2.on("error", leave);
      http2.on("close", leave);
      connection.onClose = () => {
        leave();
        http2.destroy();
      };
      const sharedKey = header(call, "x-docker-expose-session-sharedkey") ?? "";
      sessions.set(id, { id, sharedKey, methods: new Set(methods), http2, gone: gone.signal });
      for (const wake of [...(waiting.get(id) ?? [])]) wake();
    });
    return {
      hijack: {
        type: "",
        protocol: { name: "h2c", headers: {} },
        output: connection.output(),
        input: (data) => connection.input(data),
        endInput: async () => connection.endInput(),
        close: () => connection.close(),
      },
    };
  },
};

function header(call: Call, name: string): string | undefined {
  const value = call.request.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}

/** A hijacked connection as a stream: what HTTP/2 writes goes out, what comes in it reads. */
class Connection {
  readonly far: Duplex;
  readonly #out: { chunk: Buffer; done: () => void }[] = [];
  #wake = () => {};
  #room = () => {};
  #closed = false;
  onClose = () => {};

  constructor() {
    this.far = new Duplex({
      read: () => this.#room(),
      write: (chunk: Buffer, _, done) => {
        this.#out.push({ chunk, done });
        this.#wake();
      },
      final: (done) => {
        this.close();
        done();
      },
      destroy: (error, done) => {
        this.close();
        done(error);
      },
    });
    this.far.on("error", () => this.close());
  }

  async *output(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#out.shift();
      if (next) {
        yield next.chunk;
        next.done();
      } else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async input(data: Uint8Array): Promise<void> {
    if (this.#closed || this.far.push(Buffer.from(data))) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
      if (this.#closed) resolve();
    });
  }

  endInput(): void {
    if (!this.#closed) this.far.push(null);
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    this.#room();
    for (const { done } of this.#out) done();
    this.onClose();
  }
}
