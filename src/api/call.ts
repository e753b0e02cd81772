import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { InroError, invalid, messageOf } from "../base/errors.ts";
import type { Bounds, Engine } from "../engine/engine.ts";
import type { EventMessage } from "../spec/docker-api.ts";

/** One request, as a route gets it. */
export interface Call {
  engine: Engine;
  request: IncomingMessage;
  /** Parts of the path, decoded. */
  params: string[];
  query: URLSearchParams;
  /** API version that the client asked for, such as 1.47. */
  version: number;
  /** The oldest that is served. */
  minVersion: string;
  /** Aborts when the client is gone. */
  signal: AbortSignal;
  /** With `Connection: Upgrade`: the raw connection, and what had been read of it. */
  upgrade: { socket: Duplex; head: Buffer } | undefined;
  /** The JSON body, where it was read before the handler (scope/). */
  body?: unknown;
  /** Limits of what a container may be made of. */
  bounds?: Bounds;
  /** Which events the client may hear of; absent: all. */
  sees?(event: EventMessage): boolean;
}

/** Where a request goes. */
export interface Found {
  /** Its key in the table of routes. */
  pattern: string;
  handler: Handler;
  params: string[];
  version: number;
}

/** What a route answers. A `stream` is sent as it comes; `hijack` takes the connection over. */
export type Reply =
  | { status: number; body?: string | Uint8Array; type?: string; headers?: Record<string, string> }
  | { status: number; stream: AsyncIterable<Uint8Array | string>; type: string; headers?: Record<string, string> }
  | { hijack: Hijack };

/** A two-way byte stream after the answer's header. It ends when `output` does. */
export interface Hijack {
  type: string;
  /** In place of Docker's `tcp`, with headers of its own. */
  protocol?: { name: string; headers: Record<string, string> };
  output: AsyncIterable<Uint8Array>;
  /** Bytes of the client; resolves when they are taken. */
  input(data: Uint8Array): Promise<void>;
  /** The client's side is closed. */
  endInput(): Promise<void>;
  /** Always called, once, when the connection is over. */
  close(): void;
}

export type Handler = (call: Call) => Promise<Reply>;

export function json(status: number, value: unknown): Reply {
  return { status, body: `${JSON.stringify(value)}\n`, type: "application/json" };
}

export const empty = (status: number): Reply => ({ status });

/** Docker's booleans: missing, "", 0, no, false and none are false, all else is true. */
export function flag(query: URLSearchParams, name: string, missing = false): boolean {
  const value = query.get(name);
  if (value === null) return missing;
  return !["", "0", "no", "false", "none"].includes(value.trim().toLowerCase());
}

/** A whole number; undefined when it is missing or empty. */
export function integer(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === "") return undefined;
  if (!/^-?\d{1,15}$/.test(value))
    throw invalid(`invalid value for query parameter ${name}: ${JSON.stringify(value.slice(0, 100))}`);
  return Number(value);
}

const MAX_JSON = 4 << 20;

/** The request's JSON body; `undefined` when there is none and it may be missing. */
export async function jsonBody(call: Call, options: { optional?: boolean } = {}): Promise<unknown> {
  if (call.body !== undefined) return call.body;
  const text = (await readBody(call, MAX_JSON)).toString();
  if (text.trim() === "") {
    if (options.optional) return undefined;
    throw invalid("invalid JSON: got EOF while reading request body");
  }
  const type = call.request.headers["content-type"];
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
    throw invalid(`unsupported Content-Type header (${type.slice(0, 100)}): must be 'application/json'`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`invalid JSON: ${(error as Error).message}`);
  }
}

/** The whole body, at most `limit` bytes. Of an upgrade, the first Content-Length bytes may be on the connection itself. */
export async function readBody(call: Call, limit: number): Promise<Buffer> {
  const tooLarge = () => invalid(`request body too large: over ${limit} bytes`);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of call.request) {
      size += chunk.length;
      if (size > limit) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    // The client went away in the middle of it.
    throw error instanceof InroError ? error : invalid(`read the request's body: ${messageOf(error)}`, error);
  }
  if (call.upgrade && size === 0) {
    const { headers } = call.request;
    if (headers["transfer-encoding"]) throw invalid("a request that upgrades its connection needs a Content-Length");
    const declared = Number(headers["content-length"] ?? 0);
    if (declared > limit) throw tooLarge();
    chunks.push(await takeFrom(call.upgrade, declared));
  }
  return Buffer.concat(chunks);
}

/** The next `size` bytes of an upgraded connection; what is beyond becomes its head. */
async function takeFrom(upgrade: NonNullable<Call["upgrade"]>, size: number): Promise<Buffer> {
  const { socket } = upgrade;
  let bytes = upgrade.head;
  if (bytes.length < size) {
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        socket.pause();
        for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
      };
      const listeners: Record<string, (chunk: Buffer) => void> = {
        data(chunk) {
          bytes = Buffer.concat([bytes, chunk]);
          if (bytes.length < size) return;
          done();
          resolve();
        },
        end() {
          done();
          reject(invalid(`the request's body ends after ${bytes.length} of ${size} bytes`));
        },
        close: () => listeners.end!(bytes),
      };
      for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
      if (socket.readableEnded) listeners.end!(bytes);
      else socket.resume();
    });
  }
  upgrade.head = bytes.subarray(size);
  return bytes.subarray(0, size);
}
