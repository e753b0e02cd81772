import dgram from "node:dgram";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { messageOf, unavailable } from "../../../base/errors.ts";
import { DatagramConnection } from "./datagram.ts";
import type { SyslogAddress } from "./syslog-options.ts";

export interface SyslogConnection {
  /** Over TLS. */
  readonly secure: boolean;
  /** Resolves when it is there. */
  open(): Promise<void>;
  /** As `Receiver.send`. */
  send(data: Buffer): Promise<void> | undefined;
  close(): Promise<void>;
}

/** Not connected yet. `options` are the log's, for `syslog-tls-*`. */
export function openSyslog(address: SyslogAddress, options: Record<string, string>): SyslogConnection {
  const name = "host" in address ? `${address.kind} ${address.host}:${address.port}` : "";
  switch (address.kind) {
    case "local":
      return new LocalSyslog();
    case "unixgram":
      return new UnixDatagrams(address.path);
    case "unix":
      return new Stream(`unix ${address.path}`, () => net.connect(address.path));
    case "tcp":
      return new Stream(name, () => net.connect(address.port, address.host));
    case "tcp+tls": {
      const { host, port } = address;
      return new Stream(name, () => tls.connect({ host, port, servername: host, ...tlsOptions(options) }), true);
    }
    case "udp":
      return new Udp(address.host, address.port);
  }
}

function tlsOptions(options: Record<string, string>): tls.ConnectionOptions {
  const file = (name: string) => (options[name] ? readFileSync(options[name]) : undefined);
  const [ca, cert, key] = [file("syslog-tls-ca-cert"), file("syslog-tls-cert"), file("syslog-tls-key")];
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    // As in docker: that the option is there is enough.
    rejectUnauthorized: options["syslog-tls-skip-verify"] === undefined,
  };
}

const LOCAL = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/** The machine's own: datagrams as a rule, else a stream. */
class LocalSyslog implements SyslogConnection {
  readonly secure = false;
  #found: SyslogConnection | undefined;

  async open(): Promise<void> {
    if (this.#found) return await this.#found.open();
    for (const path of LOCAL.filter((path) => existsSync(path))) {
      for (const connection of [new UnixDatagrams(path), new Stream(path, () => net.connect(path))]) {
        try {
          await connection.open();
          this.#found = connection;
          return;
        } catch {
          // The next.
        }
      }
    }
    throw unavailable("Unix syslog delivery error");
  }

  send(data: Buffer): Promise<void> | undefined {
    return this.#found ? this.#found.send(data) : this.open().then(() => this.send(data));
  }

  async close(): Promise<void> {
    await this.#found?.close();
  }
}

class UnixDatagrams implements SyslogConnection {
  readonly secure = false;
  readonly #connection: DatagramConnection;

  constructor(path: string) {
    this.#connection = new DatagramConnection(path);
  }

  async open(): Promise<void> {
    this.#connection.open();
  }

  send(data: Buffer): Promise<void> | undefined {
    return this.#connection.send(data);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }
}

class Udp implements SyslogConnection {
  readonly secure = false;
  #socket: dgram.Socket | undefined;

  constructor(
    private readonly host: string,
    private readonly port: number,
  ) {}

  async open(): Promise<void> {
    if (this.#socket) return;
    const socket = dgram.createSocket(net.isIPv6(this.host) ? "udp6" : "udp4");
    socket.unref();
    // Nobody listens there at present: that is no error with datagrams.
    socket.on("error", () => {});
    const connected = once(socket, "connect");
    socket.connect(this.port, this.host);
    await connected;
    this.#socket = socket;
  }

  send(data: Buffer): Promise<void> | undefined {
    const socket = this.#socket;
    if (!socket) return this.open().then(() => this.send(data));
    return new Promise((resolve) => socket.send(data, () => resolve()));
  }

  async close(): Promise<void> {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

/** How long a connection may take, and the last of what was sent, in ms. */
const PATIENCE = 10_000;

/** A stream; one that broke is made anew with the next message. */
class Stream implements SyslogConnection {
  #socket: net.Socket | undefined;

  constructor(
    private readonly name: string,
    private readonly connect: () => net.Socket,
    readonly secure = false,
  ) {}

  async open(): Promise<void> {
    if (this.#socket && !this.#socket.destroyed) return;
    const socket = this.connect();
    const timer = setTimeout(() => socket.destroy(new Error("timed out")), PATIENCE);
    try {
      await once(socket, this.secure ? "secureConnect" : "connect");
    } catch (error) {
      throw unavailable(`dial ${this.name}: ${messageOf(error)}`, error);
    } finally {
      clearTimeout(timer);
    }
    socket.on("error", () => socket.destroy());
    // Whatever it says is of no interest, but its end is.
    socket.resume();
    socket.on("end", () => socket.destroy());
    this.#socket = socket;
  }

  send(data: Buffer): Promise<void> | undefined {
    const socket = this.#socket;
    if (!socket || socket.destroyed) return this.open().then(() => this.send(data));
    if (socket.write(data)) return undefined;
    return new Promise((resolve) => {
      const go = () => {
        socket.off("drain", go);
        socket.off("close", go);
        resolve();
      };
      socket.on("drain", go);
      socket.on("close", go);
    });
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket || socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), PATIENCE);
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      // With the kernel, which delivers it whatever becomes of us.
      socket.end(() => resolve());
    });
    clearTimeout(timer);
  }
}
