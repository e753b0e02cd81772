import type { Connection } from "./connection.ts";

/**
 * HTTP/1.1 (RFC 9112) as a client, on a Connection: the head, then a body by Content-Length, by chunks, or until the
 * peer closes. What the peer sends is bounded and checked; a violation is an Error and the connection is spent.
 */
export interface ResponseHead {
  status: number;
  reason: string;
  /** Lower-case names; repeated headers joined by a comma. */
  headers: Map<string, string>;
}

const MAX_HEAD = 256 * 1024;
const CR = 13;
const LF = 10;
const latin1 = new TextDecoder("latin1");

/** Formats a request head. Header values come from the program, but never with a line break in them. */
export function formatRequest(method: string, target: string, headers: Record<string, string>): string {
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    if (/[\r\n\0]/.test(value) || /[^!-~]/.test(name)) throw new Error(`invalid header ${name}`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** Buffered reading from a connection. What is read beyond a message stays for the next one. */
export class MessageReader {
  #rest: Uint8Array = new Uint8Array(0);
  /** True once any byte of a response has arrived. */
  started = false;

  constructor(readonly connection: Connection) {}

  /** Takes what is buffered, or the next bytes of the connection; undefined at its end. */
  async chunk(): Promise<Uint8Array | undefined> {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array(0);
      return rest;
    }
    const chunk = await this.connection.read();
    if (chunk) this.started = true;
    return chunk;
  }

  unread(bytes: Uint8Array): void {
    this.#rest = bytes;
  }

  get buffered(): number {
    return this.#rest.length;
  }

  /** Reads up to LF; gives the line without its end. */
  async line(limit: number): Promise<string> {
    let line = new Uint8Array(0);
    for (;;) {
      const chunk = await this.chunk();
      if (!chunk) throw new Error("the connection ended inside a message");
      const end = chunk.indexOf(LF);
      const part = end < 0 ? chunk : chunk.subarray(0, end);
      if (line.length + part.length > limit) throw new Error("header too long");
      line = line.length === 0 ? part.slice() : concat(line, part);
      if (end >= 0) {
        this.unread(chunk.subarray(end + 1));
        if (line.at(-1) === CR) line = line.subarray(0, -1);
        return latin1.decode(line);
      }
    }
  }
}

/** Reads a final response head; 1xx other than 101 are skipped. */
export async function readHead(reader: MessageReader): Promise<ResponseHead> {
  for (;;) {
    const first = await reader.line(MAX_HEAD);
    const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first);
    if (!match) throw new Error(`not an HTTP response: ${JSON.stringify(first.slice(0, 80))}`);
    const status = Number(match[1]);
    const headers = new Map<string, string>();
    let budget = MAX_HEAD;
    for (;;) {
      const line = await reader.line(budget);
      if (line === "") break;
      budget -= line.length + 2;
      const colon = line.indexOf(":");
      if (colon <= 0) throw new Error(`invalid header line ${JSON.stringify(line.slice(0, 80))}`);
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      const before = headers.get(name);
      headers.set(name, before === undefined ? value : `${before}, ${value}`);
    }
    if (status >= 200 || status === 101) return { status, reason: match[2] ?? "", headers };
  }
}

/**
 * The body of a response, in pieces. `onEnd` is called once when all of it has been read, with whether the connection
 * can carry another request.
 */
export async function* readBody(
  reader: MessageReader,
  head: ResponseHead,
  method: string,
  onEnd: (reusable: boolean) => void,
): AsyncGenerator<Uint8Array> {
  const keep = !/\bclose\b/i.test(head.headers.get("connection") ?? "");
  if (method === "HEAD" || head.status === 204 || head.status === 304) return onEnd(keep);
  if (/\bchunked\b/i.test(head.headers.get("transfer-encoding") ?? "")) {
    yield* chunkedBody(reader);
    return onEnd(keep);
  }
  const length = head.headers.get("content-length");
  if (length === undefined) {
    for (let chunk = await reader.chunk(); chunk; chunk = await reader.chunk()) yield chunk;
    return onEnd(false);
  }
  if (!/^\d{1,15}$/.test(length)) throw new Error(`invalid content-length ${JSON.stringify(length)}`);
  yield* exactly(reader, Number(length));
  onEnd(keep);
}

async function* chunkedBody(reader: MessageReader): AsyncGenerator<Uint8Array> {
  for (;;) {
    const line = await reader.line(1024);
    const size = /^([0-9a-fA-F]{1,12})\s*(?:;.*)?$/.exec(line)?.[1];
    if (size === undefined) throw new Error(`invalid chunk size ${JSON.stringify(line.slice(0, 40))}`);
    const length = Number.parseInt(size, 16);
    if (length === 0) break;
    yield* exactly(reader, length);
    if ((await reader.line(2)) !== "") throw new Error("chunk longer than its size");
  }
  while ((await reader.line(MAX_HEAD)) !== "");
}

async function* exactly(reader: MessageReader, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  while (left > 0) {
    const chunk = await reader.chunk();
    if (!chunk) throw new Error(`the connection ended ${left} bytes before the end of the body`);
    if (chunk.length > left) {
      reader.unread(chunk.subarray(left));
      yield chunk.subarray(0, left);
      return;
    }
    left -= chunk.length;
    yield chunk;
  }
}

export function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
