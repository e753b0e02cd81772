import { InroError } from "../base/errors.ts";
import type { Endpoint } from "./endpoint.ts";

/**
 * A connected stream socket with back-pressure both ways. `read` gives the next bytes, undefined at the peer's end;
 * `write` resolves when the kernel has taken everything; `end` closes the writing half only; `close` gives up the
 * connection. Reading and writing are independent; one call of each may be pending.
 */
export interface Connection {
  read(): Promise<Uint8Array | undefined>;
  write(data: Uint8Array | string): Promise<void>;
  end(): void;
  close(): void;
  /** False once the peer has closed or the connection failed: not to be used for another request. */
  readonly usable: boolean;
  /** Whether a pending read keeps the process alive; the default is true. */
  keepAlive(on: boolean): void;
}

// Enough to keep a fast peer busy, little enough that a stalled reader costs nothing.
const HIGH_WATER = 1 << 20;

/** The reading half: queued chunks on one side, one waiting reader on the other. */
export class Inbox {
  #chunks: Uint8Array[] = [];
  #size = 0;
  #done = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(
    private readonly pause: () => void,
    private readonly resume: () => void,
  ) {}

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size >= HIGH_WATER) this.pause();
    this.#wake?.();
  }

  finish(error?: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#error = error;
    this.#wake?.();
  }

  get done(): boolean {
    return this.#done;
  }

  async read(): Promise<Uint8Array | undefined> {
    while (this.#chunks.length === 0) {
      if (this.#error) throw this.#error;
      if (this.#done) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const chunk = this.#chunks.shift()!;
    const before = this.#size;
    this.#size -= chunk.length;
    if (before >= HIGH_WATER && this.#size < HIGH_WATER && !this.#done) this.resume();
    return chunk;
  }
}

/** Connects; a failure is an InroError `unavailable` whose `code` is the errno name. */
export async function connect(endpoint: Endpoint): Promise<Connection> {
  if (endpoint.kind === "ssh") return (await import("./connection-ssh.ts")).connectSsh(endpoint);
  // node:net costs 8 ms of a cold start, Bun.connect below 1 ms: the client's hot path is `run`. Who is at the other end of
  // TLS is looked at by node:tls.
  const secure = endpoint.kind === "tcp" && endpoint.tls !== undefined;
  if (secure || typeof Bun === "undefined") return (await import("./connection-node.ts")).connectNode(endpoint);
  return connectBun(endpoint);
}

/** The error of a failed connect, with the errno's name as `code` and what it usually means. */
export function connectError(endpoint: Endpoint, error: unknown): InroError & { code?: string } {
  const code = (error as { code?: string }).code;
  const hint =
    code === "EACCES"
      ? "no permission on the socket"
      : code === "ENOENT" || code === "ECONNREFUSED"
        ? "is it running?"
        : /certificate|CERT|self.signed/.test(`${code} ${(error as Error).message}`)
          ? "TLS: is it the right --tlscacert, and the name in the certificate?"
          : undefined;
  const text = `cannot connect to the inro engine at ${endpoint.url}: ${code ?? (error as Error).message}`;
  return Object.assign(new InroError("unavailable", hint ? `${text} (${hint})` : text, { cause: error }), {
    ...(code ? { code } : {}),
  });
}

async function connectBun(endpoint: Exclude<Endpoint, { kind: "ssh" }>): Promise<Connection> {
  const encoder = new TextEncoder();
  let pending: { data: Uint8Array; resolve: () => void; reject: (error: Error) => void } | undefined;
  let ended = false;
  let broken: Error | undefined;
  let closed = false;

  const inbox = new Inbox(
    () => socket.pause(),
    () => socket.resume(),
  );
  const flush = () => {
    if (!pending) return;
    const written = socket.write(pending.data);
    if (written < 0) return fail(Object.assign(new Error("write: connection closed"), { code: "EPIPE" }));
    if (written < pending.data.length) {
      pending.data = pending.data.subarray(written);
      return;
    }
    const { resolve } = pending;
    pending = undefined;
    resolve();
  };
  const fail = (error: Error) => {
    broken ??= error;
    const waiting = pending;
    pending = undefined;
    waiting?.reject(error);
  };
  const handler: Bun.SocketHandler<undefined> = {
    data(_, chunk) {
      inbox.push(chunk);
    },
    drain: flush,
    end() {
      inbox.finish();
    },
    close(_, error) {
      closed = true;
      fail(error ?? Object.assign(new Error("connection closed"), { code: "EPIPE" }));
      inbox.finish(error);
    },
    error(_, error) {
      fail(error);
    },
  };
  let socket: Bun.Socket<undefined>;
  try {
    socket =
      endpoint.kind === "unix"
        ? await Bun.connect({ unix: endpoint.path, allowHalfOpen: true, socket: handler })
        : await Bun.connect({
            hostname: endpoint.host,
            port: endpoint.port,
            allowHalfOpen: true,
            socket: handler,
          });
  } catch (error) {
    throw connectError(endpoint, error);
  }
  return {
    read: () => inbox.read(),
    async write(data) {
      const bytes = typeof data === "string" ? encoder.encode(data) : data;
      if (broken) throw broken;
      if (ended) throw Object.assign(new Error("write after end"), { code: "EPIPE" });
      if (bytes.length === 0) return;
      await new Promise<void>((resolve, reject) => {
        pending = { data: bytes, resolve, reject };
        flush();
      });
    },
    end() {
      if (ended || closed) return;
      ended = true;
      socket.shutdown();
    },
    close() {
      if (closed) return;
      ended = true;
      socket.terminate();
      inbox.finish();
    },
    get usable() {
      return !closed && !ended && !broken && !inbox.done;
    },
    keepAlive(on) {
      if (on) socket.ref();
      else socket.unref();
    },
  };
}
