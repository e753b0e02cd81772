import { connect as connectSocket } from "node:net";
import { type Connection, connectError, Inbox } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";

/** The Connection of a program that uses the client library on Node. */
export async function connectNode(endpoint: Endpoint): Promise<Connection> {
  const options = endpoint.kind === "unix" ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
  const socket = connectSocket({ ...options, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", (error) => reject(connectError(endpoint, error)));
  });
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
