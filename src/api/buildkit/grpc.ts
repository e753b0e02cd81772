import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { InroError, messageOf, unavailable } from "../../base/errors.ts";

/** Codes of gRPC (grpc.io/docs/guides/status-codes). */
export const GRPC = { ok: 0, unknown: 2, notFound: 5, unimplemented: 12, unavailable: 14 } as const;

/** A call that the other side answered with an error. */
export class GrpcError extends InroError {
  override name = "GrpcError";
  constructor(
    method: string,
    readonly status: number,
    text: string,
  ) {
    super(status === GRPC.notFound ? "notFound" : "unavailable", `${method}: ${text || `gRPC status ${status}`}`);
  }
}

const PREFIX = 5;
/** As BuildKit's own limit. */
const LARGEST = 16 << 20;
/** Answers that nobody has read yet, in bytes, before the other side has to wait. */
const MOST_HELD = 1 << 20;

/** One call, as a stream of messages in both directions. It is over when `messages` has ended, or thrown. */
export class GrpcStream {
  readonly #stream: ClientHttp2Stream;
  readonly #queue: Buffer[] = [];
  #queued = 0;
  #held: Buffer[] = [];
  #heldLength = 0;
  #wake = () => {};
  #ended = false;
  #failure: unknown;
  #status: number | undefined;
  #message = "";

  constructor(
    readonly method: string,
    stream: ClientHttp2Stream,
    signal: AbortSignal,
  ) {
    this.#stream = stream;
    const abort = () => {
      this.#fail(signal.reason);
      stream.close();
    };
    signal.addEventListener("abort", abort, { once: true });
    const take = (headers: IncomingHttpHeaders) => {
      if (headers["grpc-status"] === undefined) return;
      this.#status = Number(headers["grpc-status"]);
      this.#message = decoded(String(headers["grpc-message"] ?? ""));
    };
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("error", (error) => this.#fail(unavailable(`${method}: ${messageOf(error)}`, error)));
    stream.on("close", () => {
      signal.removeEventListener("abort", abort);
      this.#ended = true;
      this.#wake();
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#ended = true;
    this.#wake();
  }

  #take(chunk: Buffer): void {
    this.#held.push(chunk);
    this.#heldLength += chunk.length;
    while (this.#heldLength >= PREFIX) {
      if (this.#held.length > 1 && this.#held[0]!.length < PREFIX) this.#held = [Buffer.concat(this.#held)];
      const length = this.#held[0]!.readUInt32BE(1);
      if (length > LARGEST || this.#held[0]![0] !== 0) {
        this.#fail(new GrpcError(this.method, GRPC.unknown, `a message of ${length} bytes, or a compressed one`));
        this.#stream.close();
        return;
      }
      if (this.#heldLength < PREFIX + length) break;
      const all = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
      this.#queue.push(all.subarray(PREFIX, PREFIX + length));
      this.#queued += length;
      const rest = all.subarray(PREFIX + length);
      this.#held = rest.length > 0 ? [rest] : [];
      this.#heldLength = rest.length;
    }
    if (this.#queued > MOST_HELD) this.#stream.pause();
    this.#wake();
  }

  /** Resolves when there is room for more. */
  async send(message: Uint8Array): Promise<void> {
    if (this.#ended) return;
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt32BE(message.length, 1);
    if (this.#stream.write(Buffer.concat([prefix, message]))) return;
    await new Promise<void>((resolve) => {
      for (const event of ["drain", "close", "error"]) this.#stream.once(event, () => resolve());
    });
  }

  /** Nothing more comes from here. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end();
  }

  cancel(): void {
    if (!this.#stream.destroyed) this.#stream.close();
  }

  /** To the end; a status other than OK is a GrpcError after the last. */
  async *messages(): AsyncGenerator<Buffer> {
    for (;;) {
      const message = this.#queue.shift();
      if (message) {
        this.#queued -= message.length;
        if (this.#queued <= MOST_HELD) this.#stream.resume();
        yield message;
      } else if (this.#ended) break;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#status === undefined) throw new GrpcError(this.method, GRPC.unavailable, "the client has gone");
    if (this.#status !== GRPC.ok) throw new GrpcError(this.method, this.#status, this.#message);
  }
}

/** Begins a call. `metadata` has lower case names. */
export function openCall(
  session: ClientHttp2Session,
  method: string,
  metadata: Record<string, string | string[]>,
  signal: AbortSignal,
): GrpcStream {
  signal.throwIfAborted();
  const headers = {
    ":method": "POST",
    ":path": method,
    ":scheme": "http",
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    "user-agent": "inro",
    ...metadata,
  };
  return new GrpcStream(method, session.request(headers, { endStream: false }), signal);
}

/** A call of one message each way. */
export async function callOnce(
  session: ClientHttp2Session,
  method: string,
  request: Uint8Array,
  signal: AbortSignal,
  metadata: Record<string, string | string[]> = {},
): Promise<Buffer> {
  const stream = openCall(session, method, metadata, signal);
  await stream.send(request);
  stream.end();
  let answer: Buffer | undefined;
  for await (const message of stream.messages()) answer ??= message;
  return answer ?? Buffer.alloc(0);
}

/** Percent-encoded (gRPC over HTTP2, "Status-Message"). */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
