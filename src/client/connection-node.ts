import { connect as connectSocket, type Socket } from "node:net";
import { type Connection, connectError, Inbox } from "./connection.ts";
import type { ClientTls, Endpoint } from "./endpoint.ts";

type Socketed = Exclude<Endpoint, { kind: "ssh" }>;

/** The Connection of a program that uses the client library on Node, and of everybody who speaks TLS. */
export async function connectNode(endpoint: Socketed): Promise<Connection> {
  const { socket, event } =
    endpoint.kind === "tcp" && endpoint.tls ? await secureSocket(endpoint, endpoint.tls) : plainSocket(endpoint);
  await new Promise<void>((resolve, reject) => {
    socket.once(event, resolve);
    socket.once("error", (error) => reject(connectError(endpoint, error)));
    socket.once("close", () => reject(connectError(endpoint, new Error("closed while connecting"))));
  });
  return connectionOf(socket);
}

function plainSocket(endpoint: Socketed): { socket: Socket; event: string } {
  const options = endpoint.kind === "unix" ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
  return { socket: connectSocket({ ...options, allowHalfOpen: true }), event: "connect" };
}

async function secureSocket(
  { host, port }: Socketed & { kind: "tcp" },
  { ca, cert, key, verify }: ClientTls,
): Promise<{ socket: Socket; event: string }> {
  const { connect } = await import("node:tls");
  const options = {
    host,
    port,
    allowHalfOpen: true,
    minVersion: "TLSv1.2" as const,
    rejectUnauthorized: verify,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    // An address is no name to be asked for (RFC 6066, section 3).
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
  };
  return { socket: connect(options), event: "secureConnect" };
}

function connectionOf(socket: Socket): Connection {
  let failed: Error | undefined;
  const inbox = new Inbox(
    () => socket.pause(),
    () => socket.resume(),
  );
  socket.on("data", (chunk: Uint8Array) => inbox.push(chunk));
  socket.on("end", () => inbox.finish());
  socket.on("close", () => inbox.finish(failed));
  socket.on("error", (error) => {
    failed = error;
  });
  return {
    read: () => inbox.read(),
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) => (error ? reject(error) : resolve()));
      }),
    end: () => void socket.end(),
    close() {
      socket.destroy();
      inbox.finish();
    },
    get usable() {
      return socket.writable && !inbox.done;
    },
    keepAlive(on) {
      if (on) socket.ref();
      else socket.unref();
    },
  };
}
