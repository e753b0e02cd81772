import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { InroError, messageOf, notImplemented, unavailable } from "../../base/errors.ts";
import { BuildFailed } from "../../build/builder.ts";
import { framed, GRPC, GrpcError, MessageFrames, written } from "./grpc.ts";
import { MessageReader } from "./protobuf.ts";

/** One call of a client. */
export interface ServerCall {
  readonly metadata: IncomingHttpHeaders;
  /** The only message of the request. */
  readonly request: MessageReader;
  /** Aborts when the client cancels the call, or leaves. */
  readonly signal: AbortSignal;
  /** One message of a streamed answer; resolves when there is room for more. */
  send(message: Uint8Array): Promise<void>;
}

/** What a method answers: its message, or nothing where it has sent messages itself. */
export type GrpcMethod = (call: ServerCall) => Promise<Uint8Array | void>;

const CODES: Partial<Record<InroError["kind"], number>> = {
  invalid: GRPC.invalidArgument,
  notFound: GRPC.notFound,
  conflict: GRPC.failedPrecondition,
  forbidden: GRPC.permissionDenied,
  notImplemented: GRPC.unimplemented,
  unavailable: GRPC.unavailable,
};
/** Of a message in a header, escaped. */
const LONGEST_MESSAGE = 16_000;

/**
 * Serves gRPC on a connection of HTTP/2, until it is over. Methods are by their paths, `/package.Service/Method`; their
 * errors become the statuses of the calls.
 */
export function serveGrpc(connection: Duplex, methods: Readonly<Record<string, GrpcMethod>>): void {
  const server = createServer();
  // A connection that is wrong is closed by itself; the others have servers of their own.
  server.on("sessionError", () => connection.destroy());
  server.on("error", () => connection.destroy());
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    void answer(stream, headers, methods);
  });
  // Its calls end with it.
  server.on("session", (session) => connection.on("close", () => session.destroy()));
  server.emit("connection", connection);
}

async function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  methods: Readonly<Record<string, GrpcMethod>>,
): Promise<void> {
  const left = new AbortController();
  stream.on("error", () => {});
  stream.on("close", () => left.abort(unavailable("the client of the call has left")));
  let status: { code: number; message: string } = { code: GRPC.ok, message: "" };
  let begun = false;
  const begin = () => {
    if (begun || stream.destroyed) return;
    begun = true;
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => {
      const message = status.message === "" ? {} : { "grpc-message": encoded(status.message) };
      stream.sendTrailers({ "grpc-status": String(status.code), ...message });
    });
  };
  const send = async (message: Uint8Array): Promise<void> => {
    begin();
    if (!stream.destroyed) await written(stream, framed(message));
  };
  try {
    const path = String(headers[":path"]);
    const method = Object.hasOwn(methods, path) ? methods[path] : undefined;
    const request = await onlyMessage(stream, path);
    if (!method) throw notImplemented(`${path.slice(0, 200)} is not supported`);
    const message = await method({ metadata: headers, request, signal: left.signal, send });
    if (message) await send(message);
  } catch (error) {
    status = { code: codeOf(error), message: messageOf(error) };
  }
  begin();
  if (!stream.destroyed) stream.end();
}

/** Percent-encoded, as much of it as a header may hold. A text that was cut may end in half a character. */
function encoded(message: string): string {
  let text = message.slice(0, LONGEST_MESSAGE);
  for (;;) {
    const escaped = encodeURIComponent(text.toWellFormed());
    if (escaped.length <= LONGEST_MESSAGE) return escaped;
    text = text.slice(0, text.length >> 1);
  }
}

function codeOf(error: unknown): number {
  if (error instanceof GrpcError) return error.status;
  // Clients say the others' names: what a Dockerfile has wrong has been said.
  if (error instanceof BuildFailed) return GRPC.unknown;
  return (error instanceof InroError && CODES[error.kind]) || GRPC.unknown;
}

/** The first message; what comes behind it is left. An empty one when there is none. */
async function onlyMessage(stream: ServerHttp2Stream, method: string): Promise<MessageReader> {
  const frames = new MessageFrames(method);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  // Not for-await: leaving that would end the stream.
  stream.on("data", (chunk: Buffer) => {
    try {
      const [message] = frames.take(chunk);
      if (message) resolve(message);
    } catch (error) {
      reject(error);
    }
  });
  for (const event of ["end", "close", "error"]) stream.once(event, () => resolve(Buffer.alloc(0)));
  return new MessageReader(await promise);
}
