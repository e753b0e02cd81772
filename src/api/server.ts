import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { messageOf } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { API_VERSION, MIN_API_VERSION } from "../spec/docker-api.ts";
import type { AccessLog } from "./access-log.ts";
import type { Call, Reply } from "./call.ts";
import { Departure, room } from "./departure.ts";
import { errorBody, statusOf } from "./errors.ts";
import { hijack } from "./hijack.ts";
import type { Peers } from "./peer.ts";
import { AncientVersion, route } from "./router.ts";
import { enforce } from "./scope/enforce.ts";
import type { Guard } from "./scope/guard.ts";

/** What every answer carries. */
const HEADERS = {
  "Api-Version": API_VERSION,
  Ostype: "linux",
  "Docker-Experimental": "false",
  Server: `inro/0.1.0 (linux)`,
};

export interface ApiOptions {
  engine: Engine;
  /** Oldest version of the API that is served; docker's way to shut out old clients. */
  minVersion?: string;
  log(line: string): void;
  /** Told when a request comes, and when it is over. */
  onActive?(change: 1 | -1): void;
  /** Gets a line for each request that came in by `socket`, with who sent it as far as `peers` knows. */
  access?: { log: AccessLog; socket: string; peers: Peers };
  /** The rights of who comes in here; absent: all. */
  guard?: Guard;
}

/** The Engine API on a server that is not listening yet; the caller listens and closes. */
export function createApi(options: ApiOptions): Server {
  const count = (change: 1 | -1) => options.onActive?.(change);
  // A header of 1 MiB holds every X-Registry-Config; Host may be missing (HTTP/1.0 clients).
  const server = createServer({ maxHeaderSize: 1 << 20, requireHostHeader: false }, (request, response) => {
    count(1);
    const access = begin(options, request);
    void answer(options, request, response, access).finally(() => {
      access?.end();
      count(-1);
    });
  });
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  server.timeout = 0;
  // A local client may idle for as long as it likes, and a timer for each request is dear.
  server.keepAliveTimeout = 0;
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    count(1);
    const access = begin(options, request);
    void upgrade(options, request, socket, head, access).finally(() => {
      access?.end();
      count(-1);
    });
  });
  return server;
}

/** A request that is written into the access log when it is over. */
interface Recorded {
  status: number;
  bytes: number;
  end(): void;
}

function begin({ access }: ApiOptions, request: IncomingMessage): Recorded | undefined {
  if (!access) return undefined;
  const time = Date.now();
  const start = performance.now();
  const peer = access.peers.get(request.socket);
  return {
    status: 0,
    bytes: 0,
    end() {
      const { method = "", url = "" } = request;
      const path = splitOnce(url, "?")[0];
      const duration = performance.now() - start;
      access.log.write({
        time,
        socket: access.socket,
        peer,
        method,
        path,
        status: this.status,
        bytes: this.bytes,
        duration,
      });
    },
  };
}

async function dispatch(
  options: ApiOptions,
  request: IncomingMessage,
  gone: Departure,
  raw?: Call["upgrade"],
): Promise<Reply> {
  const [path = "/", query = ""] = splitOnce(request.url ?? "/", "?");
  try {
    const minVersion = options.minVersion ?? MIN_API_VERSION;
    const found = route(request.method ?? "GET", path, minVersion);
    if (!found) return { status: 404, body: '{"message":"page not found"}\n', type: "application/json" };
    const { handler, params, version } = found;
    const { guard } = options;
    const call: Call = {
      engine: options.engine,
      request,
      params,
      query: new URLSearchParams(query),
      version,
      minVersion,
      get signal() {
        return gone.signal;
      },
      upgrade: raw,
    };
    const reply = await (guard ? enforce(guard, found, call) : handler(call));
    if (raw) raw.head = call.upgrade!.head;
    return reply;
  } catch (error) {
    const status = statusOf(error);
    if (status === 500) options.log(`${request.method} ${path}: ${messageOf(error)}`);
    if (error instanceof AncientVersion) {
      return { status, body: `${messageOf(error)}\n`, type: "text/plain; charset=utf-8" };
    }
    return status === 304 ? { status } : { status, body: errorBody(error), type: "application/json" };
  }
}

async function answer(
  options: ApiOptions,
  request: IncomingMessage,
  response: ServerResponse,
  access: Recorded | undefined,
): Promise<void> {
  const gone = new Departure();
  response.on("close", () => gone.happen());
  const reply = await dispatch(options, request, gone);
  if (access) access.status = "hijack" in reply ? 500 : reply.status;
  if ("hijack" in reply) {
    reply.hijack.close();
    response.writeHead(500, HEADERS).end();
    return;
  }
  const type: Record<string, string> = reply.type ? { "Content-Type": reply.type } : {};
  const headers: Record<string, string> = { ...HEADERS, ...type, ...reply.headers };
  if (!("stream" in reply)) {
    const body = reply.body ?? "";
    const bytes = Buffer.byteLength(body);
    if (access) access.bytes = bytes;
    // Without it the body would be chunked; 204 and 304 have none to speak of (RFC 9110, 8.6).
    if (reply.status !== 204 && reply.status !== 304) headers["Content-Length"] = String(bytes);
    response.writeHead(reply.status, headers).end(body);
    // An unread body (a refused upload) would hold the connection.
    request.resume();
    return;
  }
  response.writeHead(reply.status, headers);
  response.flushHeaders();
  try {
    for await (const chunk of reply.stream) {
      if (gone.happened) break;
      if (access) access.bytes += Buffer.byteLength(chunk);
      if (!response.write(chunk)) await room(response);
    }
    response.end();
  } catch (error) {
    // 200 has gone out: cutting the connection is the only way left to say that this is not all.
    if (!gone.happened) options.log(`${request.method} ${request.url}: ${messageOf(error)}`);
    response.destroy();
  }
}

async function upgrade(
  options: ApiOptions,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  access: Recorded | undefined,
): Promise<void> {
  const gone = new Departure();
  socket.on("error", () => gone.happen());
  socket.on("close", () => gone.happen());
  const glues = request.headers["user-agent"]?.startsWith("docker-sdk-python") === true;
  const raw = { socket, head, glues };
  const reply = await dispatch(options, request, gone, raw);
  if (access) access.status = "hijack" in reply ? 101 : reply.status;
  if ("hijack" in reply) {
    return await hijack(reply.hijack, raw, gone, (bytes) => {
      if (access) access.bytes += bytes;
    });
  }
  const type: Record<string, string> = reply.type ? { "Content-Type": reply.type } : {};
  const headers: Record<string, string> = { ...HEADERS, ...type, ...reply.headers, Connection: "close" };
  if (!("stream" in reply)) {
    const body = Buffer.from(reply.body ?? "");
    if (access) access.bytes = body.length;
    headers["Content-Length"] = String(body.length);
    socket.end(Buffer.concat([responseHead(reply.status, headers), body]));
    return;
  }
  // What streams without a hijack ends with the connection.
  socket.write(responseHead(reply.status, headers));
  // Read on, or its end would not be seen.
  socket.resume();
  try {
    for await (const chunk of reply.stream) {
      if (gone.happened) break;
      if (access) access.bytes += Buffer.byteLength(chunk);
      if (!socket.write(chunk)) await room(socket);
    }
    socket.end();
  } catch (error) {
    if (!gone.happened) options.log(`${request.method} ${request.url}: ${messageOf(error)}`);
    socket.destroy();
  }
}

function responseHead(status: number, headers: Record<string, string>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
