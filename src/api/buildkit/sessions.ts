import type { ClientHttp2Session } from "node:http2";
import { connect } from "node:http2";
import { conflict, invalid, notFound } from "../../base/errors.ts";
import type { Call, Handler } from "../call.ts";
import { Arrivals } from "./arrivals.ts";
import { H2cConnection, mustBeH2c } from "./h2c.ts";

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

const sessions = new Arrivals<Session>();

/** The session of this id; one that is still to come is waited for a few seconds. notFound then. */
export async function sessionOf(id: string, signal: AbortSignal): Promise<Session> {
  if (!ID.test(id)) throw invalid("no id of a session");
  const session = await sessions.get(id, signal);
  if (!session) throw notFound(`no active session for ${id}: its client did not connect`);
  return session;
}

/** `POST /session`: the connection becomes one of HTTP/2, on which the engine is the client. */
export const session: Handler = async (call) => {
  mustBeH2c(call);
  const id = header(call, "x-docker-expose-session-uuid") ?? "";
  if (!ID.test(id)) throw invalid("X-Docker-Expose-Session-Uuid is missing, or no id");
  if (sessions.has(id)) throw conflict(`session ${id} is there already`);
  if (sessions.size >= MOST_SESSIONS) throw conflict(`more than ${MOST_SESSIONS} sessions`);
  const methods = (header(call, "x-docker-expose-session-grpc-method") ?? "").toLowerCase().split(/,\s*/);
  const connection = new H2cConnection();
  const gone = new AbortController();
  // After the answer's header has gone out.
  setImmediate(() => {
    const http2 = connect("http://localhost", { createConnection: () => connection.far as never });
    const leave = () => {
      sessions.remove(id);
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
    sessions.add(id, { id, sharedKey, methods: new Set(methods), http2, gone: gone.signal });
  });
  return connection.hijack();
};

function header(call: Call, name: string): string | undefined {
  const value = call.request.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}
