import type { ClientHttp2Session, ClientHttp2Stream, Http2Stream, IncomingHttpHeaders } from "node:http2";
import { InroError, messageOf, unavailable } from "../../base/errors.ts";

/** Codes of gRPC (grpc.io/docs/guides/status-codes). */
export const GRPC = {
  ok: 0,
  unknown: 2,
  invalidArgument: 3,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  failedPrecondition: 9,
  unimplemented: 12,
  unavailable: 14,
} as const;

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

/** A message as it goes over a connection (gRPC over HTTP2, "Length-Prefixed-Message"). */
export function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(PREFIX);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Writes; resolves when there is room for more, or nobody takes any. */
export async function written(stream: Http2Stream, data: Uint8Array): Promise<void> {
  if (stream.write(data)) return;
  const events = ["drain", "close", "error"] as const;
  await new Promise<void>((resolve) => {
    const over = () => {
      for (const event of events) stream.off(event, over);
      resolve();
    };
    for (const event of events) stream.on(event, over);
  });
}

/** Cuts what comes of a call into its messages. */
export class MessageFrames {
  #held: Buffer[] = [];
  #length = 0;

  constructor(private readonly method: string) {}

  /** The messages that are whole now. One that is compressed, or larger than 16 MiB, is a GrpcError. */
  take(chunk: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    this.#held.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= PREFIX) {
      if (this.#held.length > 1 && this.#held[0]!.length < PREFIX) this.#held = [Buffer.concat(this.#held)];
      const length = this.#held[0]!.readUInt32BE(1);
      if (length > LARGEST || this.#held[0]![0] !== 0) {
        throw new GrpcError(this.method, GRPC.unknown, `a message of ${length} bytes, or a compressed one`);
      }
      if (this.#length < PREFIX + length) break;
      const all = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
      messages.push(all.subarray(PREFIX, PREFIX + length));
      const rest = all.subarray(PREFIX + length);
      this.#held = rest.length > 0 ? [rest] : [];
      this.#length = rest.length;
    }
    return messages;
  }
}

/** One call, as a stream of messages in both directions. It is over when `messages` has ended, or thrown. */
export class GrpcStream {
  readonly #stream: ClientHttp2Stream;
  readonly #queue: Buffer[] = [];
  #queued = 0;
  readonly #frames: MessageFrames;
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
    this.#frames = new MessageFrames(method);
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
    try {
      for (const message of this.#frames.take(chunk)) {
        this.#queue.push(message);
        this.#queued += message.length;
      }
    } catch (error) {
      this.#fail(error);
      this.#stream.close();
      return;
    }
    if (this.#queued > MOST_HELD) this.#stream.pause();
    this.#wake();
  }

  /** Resolves when there is room for more. */
  async send(message: Uint8Array): Promise<void> {
    if (this.#ended) return;
    await written(this.#stream, framed(message));
  }

  /** Whether the other side has ended it: what is sent goes nowhere. */
  get ended(): boolean {
    return this.#ended;
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
