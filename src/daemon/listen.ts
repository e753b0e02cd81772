import { chmodSync, chownSync, mkdirSync, unlinkSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Peers } from "../api/peer.ts";
import { codeOf, invalid, messageOf } from "../base/errors.ts";
import { ownerUid } from "../base/owner.ts";
import { runDirectory } from "../client/endpoint.ts";
import { peerCredentials } from "../linux/peer.ts";
import type { Address } from "./address.ts";

/** An open door; `url` is where it really is. */
export interface Listener {
  url: string;
  close(): void;
}

/**
 * Makes `api` answer at `address`. With `peers` it is known there who connects, for a few microseconds a request; a unix
 * socket without goes the shortest way.
 */
export async function listen(api: HttpServer, address: Address, peers?: Peers): Promise<Listener> {
  if (address.kind === "unix") {
    const server = peers ? unixServer(api, peers) : api;
    await bindUnix(server, address.path, address.gid);
    return { url: `unix://${address.path}`, close: () => server.close() };
  }
  if (address.kind === "fd") {
    const server = unixServer(api, peers);
    await listening(server, () => server.listen({ fd: address.fd }));
    return { url: `fd://${address.fd}`, close: () => server.close() };
  }
  const server = tlsServer(api, address.tls, peers);
  await listening(server, () => server.listen(address.port, address.host));
  const { port } = server.address() as { port: number };
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return { url: `tcp://${host}:${port}`, close: () => server.close() };
}

/** Connections are made by node:net and handed on: an http server's own sockets do not say who is at the other end. */
function unixServer(api: HttpServer, peers: Peers | undefined): Server {
  return createServer({ allowHalfOpen: true }, (socket: Socket) => {
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
    if (peers && fd !== undefined && fd >= 0) peers.set(socket, { kind: "unix", ...peerCredentials(fd) });
    api.emit("connection", socket);
  });
}

function tlsServer(api: HttpServer, files: Extract<Address, { kind: "tcp" }>["tls"], peers: Peers | undefined): Server {
  const options = {
    ...files,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.2" as const,
    allowHalfOpen: true,
  };
  return createTlsServer(options, (socket: TLSSocket) => {
    // By rejectUnauthorized it does not come to this.
    if (!socket.authorized) return void socket.destroy();
    const { CN: name } = socket.getPeerCertificate().subject ?? {};
    peers?.set(socket, { kind: "tls", name: String(name ?? ""), address: socket.remoteAddress ?? "" });
    api.emit("connection", socket);
  });
}

/** What is not for its owner and group; a plain user's is for nobody else. */
const SOCKET_UMASK = 0o117;
const PLAIN_SOCKET_UMASK = 0o177;

/** The socket is for its owner and group alone; a stale file is replaced. */
async function bindUnix(server: Server | HttpServer, path: string, gid: number | undefined): Promise<void> {
  const directory = dirname(path);
  const made = mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw invalid(`serve: replace ${path}: ${messageOf(error)}`);
  }
  await listening(server, () => {
    // It is bound when the call returns, with the mode that it keeps: one that comes later leaves a moment for others.
    const umask = process.umask(gid === undefined && ownerUid() !== 0 ? PLAIN_SOCKET_UMASK : SOCKET_UMASK);
    try {
      return server.listen(path);
    } finally {
      process.umask(umask);
    }
  });
  if (gid === undefined) return;
  chownSync(path, process.getuid!(), gid);
  // The group must get to it, and sees nothing else there. A directory of others is as they want it.
  if (made === undefined && directory !== runDirectory()) return;
  chmodSync(directory, 0o711);
}

function listening(server: Server | HttpServer, start: () => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    start();
  });
}
