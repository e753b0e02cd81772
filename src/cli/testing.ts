import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";

/** One request as the fake engine saw it. */
export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  body: string;
  headers: IncomingMessage["headers"];
}

type Answer = (seen: Seen, response: ServerResponse) => void | Promise<void>;
type Hijack = (seen: Seen, socket: Socket) => void | Promise<void>;

/**
 * A scripted Engine API on a unix socket, for tests of the command line: routes are `METHOD /path` with `*` for one
 * segment; what is not scripted is a 404. `stop` ends it and removes its directory.
 */
export class FakeEngine {
  readonly directory = mkdtempSync(`${tmpdir()}/inro-cli-`);
  readonly socket = `${this.directory}/engine.sock`;
  readonly url = `unix://${this.socket}`;
  readonly seen: Seen[] = [];
  readonly #routes = new Map<string, Answer>();
  readonly #hijacks = new Map<string, Hijack>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async start(): Promise<FakeEngine> {
    const engine = new FakeEngine();
    engine.#server.on("connection", (socket: Socket) => {
      engine.#sockets.add(socket);
      socket.on("close", () => engine.#sockets.delete(socket));
    });
    engine.#server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
      void engine.#upgrade(request, socket, head);
    });
    await new Promise<void>((resolve) => {
      engine.#server.listen(engine.socket, resolve);
    });
    return engine;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  on(route: string, answer: Answer | unknown): this {
    this.#routes.set(
      route,
      typeof answer === "function" ? (answer as Answer) : (_, response) => sendJson(response, 200, answer),
    );
    return this;
  }

  onHijack(route: string, hijack: Hijack): this {
    this.#hijacks.set(route, hijack);
    return this;
  }

  /** Paths asked, in order, as `METHOD /path`. */
  get calls(): string[] {
    return this.seen.map(({ method, path }) => `${method} ${path}`);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const seen = requestOf(request, Buffer.concat(chunks).toString("latin1"));
    this.seen.push(seen);
    const answer = find(this.#routes, seen);
    if (answer) await answer(seen, response);
    else sendJson(response, 404, { message: `page not found: ${seen.method} ${seen.path}` });
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const length = Number(request.headers["content-length"] ?? 0);
    let body = head.subarray(0, length);
    for await (const chunk of request) body = Buffer.concat([body, chunk as Buffer]);
    const seen = requestOf(request, body.subarray(0, length).toString());
    const hijack = find(this.#hijacks, seen);
    // An engine that does not know inro's own request is asked the docker way.
    if (hijack || seen.path !== "/inro/run") this.seen.push(seen);
    if (!hijack) {
      socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    await hijack(seen, socket);
  }
}

function requestOf(request: IncomingMessage, body: string): Seen {
  const url = new URL(request.url ?? "/", "http://engine");
  return { method: request.method ?? "", path: url.pathname, query: url.searchParams, body, headers: request.headers };
}

function find<T>(routes: ReadonlyMap<string, T>, { method, path }: Seen): T | undefined {
  for (const [route, answer] of routes) {
    const pattern = route.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", "[^/]+");
    if (new RegExp(`^${pattern}$`).test(`${method} ${path}`)) return answer;
  }
  return undefined;
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

/** The head that turns a connection into a stream. */
export const UPGRADED =
  "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

/** What the client sends up to its half-close. An iterator would destroy the socket, and with it the way back. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("end", () => resolve(text));
  });
}

/** A frame of the multiplexed stream. */
export function frame(stream: number, text: string | Uint8Array): Buffer {
  const data = Buffer.from(text as string);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

const main = new URL("../main.ts", import.meta.url).pathname;

/** Starts `inro ARGV` against an engine; the caller ends it. */
export function spawnInro(
  argv: readonly string[],
  url: string,
  options: { stdin?: "pipe" | "ignore" | Blob; env?: Record<string, string> } = {},
) {
  return Bun.spawn([process.execPath, main, ...argv], {
    env: { PATH: process.env.PATH ?? "", INRO_HOST: url, ...options.env },
    stdin: options.stdin ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Runs it to its end. */
export async function inro(
  argv: readonly string[],
  url: string,
  options: { stdin?: Blob; env?: Record<string, string> } = {},
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawnInro(argv, url, options);
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, stdout, stderr };
}
