import type { Socket } from "bun";
import { HttpAnswer } from "./http-answer.ts";

export interface ApiResponse {
  status: number;
  body: string;
}

interface Exchange {
  answer: HttpAnswer;
  done(answer: HttpAnswer): void;
  failed(error: Error): void;
}

type Connection = Socket<{ exchange: Exchange | undefined }>;

/**
 * A client of the Docker Engine API over a unix socket, with connections that stay. As little as HTTP allows: what a
 * measurement shows is the engine's time, and a client with all comforts takes as long as inro's engine.
 */
export class ApiClient {
  readonly #idle: Connection[] = [];
  readonly #waiting: { taken(connection: Connection): void; failed(error: unknown): void }[] = [];
  #open = 0;

  /** `connections`: how many requests may be under way at once. */
  constructor(
    readonly socket: string,
    private readonly connections = 1,
  ) {}

  /** One request; a status of 400 and more is an Error with the engine's message. */
  async call(method: string, path: string, body?: object | Uint8Array): Promise<ApiResponse> {
    const data = body instanceof Uint8Array ? body : body === undefined ? "" : JSON.stringify(body);
    const length = typeof data === "string" ? Buffer.byteLength(data) : data.length;
    const type = body === undefined ? "" : `Content-Type: ${contentType(body)}\r\n`;
    const head = `${method} ${path} HTTP/1.1\r\nHost: engine\r\n${type}Content-Length: ${length}\r\n\r\n`;
    const connection = await this.#take();
    try {
      const answer = await exchange(connection, typeof data === "string" ? Buffer.from(head + data) : [head, data]);
      const text = answer.body;
      if (answer.status >= 400) {
        throw new Error(`${method} ${path}: ${answer.status} ${text.trim().slice(0, 300)}`);
      }
      return { status: answer.status, body: text };
    } finally {
      this.#give(connection);
    }
  }

  async json<T>(method: string, path: string, body?: object): Promise<T> {
    return JSON.parse((await this.call(method, path, body)).body) as T;
  }

  async ping(): Promise<boolean> {
    return this.call("GET", "/_ping").then(
      () => true,
      () => false,
    );
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.end();
  }

  async #take(): Promise<Connection> {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (idle.readyState === 1) return idle;
      this.#open--;
    }
    if (this.#open >= this.connections) {
      return await new Promise((taken, failed) => this.#waiting.push({ taken, failed }));
    }
    this.#open++;
    try {
      return await connect(this.socket);
    } catch (error) {
      this.#open--;
      throw error;
    }
  }

  #give(connection: Connection): void {
    if (connection.readyState !== 1) {
      this.#open--;
      const next = this.#waiting.shift();
      if (next) this.#take().then(next.taken, next.failed);
      return;
    }
    const next = this.#waiting.shift();
    if (next) next.taken(connection);
    else this.#idle.push(connection);
  }
}

function connect(unix: string): Promise<Connection> {
  const fail = (connection: Connection, why: string) => connection.data.exchange?.failed(new Error(why));
  return Bun.connect({
    unix,
    data: { exchange: undefined as Exchange | undefined },
    socket: {
      data(connection, data) {
        const { exchange } = connection.data;
        if (exchange?.answer.take(data)) exchange.done(exchange.answer);
      },
      close: (connection) => {
        const { exchange } = connection.data;
        if (exchange?.answer.endsWithConnection) exchange.done(exchange.answer);
        else fail(connection, "the engine closed the connection");
      },
      error: (connection, error) => fail(connection, error.message),
      drain: (connection) => pending.get(connection)?.(),
    },
  });
}

/** What waits for room in a connection. */
const pending = new WeakMap<Connection, () => void>();

async function exchange(connection: Connection, request: Uint8Array | [string, Uint8Array]): Promise<HttpAnswer> {
  const answered = new Promise<HttpAnswer>((done, failed) => {
    connection.data.exchange = { answer: new HttpAnswer(), done, failed };
  });
  // An engine may answer, or go, before it has all; that is then what is told.
  answered.catch(() => undefined);
  const parts = request instanceof Uint8Array ? [request] : [Buffer.from(request[0]), request[1]];
  for (const part of parts) {
    for (let sent = connection.write(part); sent < part.length && connection.readyState === 1; ) {
      await Promise.race([new Promise<void>((room) => pending.set(connection, room)), answered]);
      sent += connection.write(part.subarray(sent));
    }
  }
  // It was closed before there was anything to fail.
  if (connection.readyState !== 1) connection.data.exchange?.failed(new Error("the connection is closed"));
  return await answered.finally(() => {
    connection.data.exchange = undefined;
  });
}

const contentType = (body: object) => (body instanceof Uint8Array ? "application/x-tar" : "application/json");
