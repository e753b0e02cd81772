import { InroError, messageOf, unavailable } from "../base/errors.ts";
import { close, read, writeAll } from "../linux/file.ts";
import { POLLIN, poll } from "../linux/poll.ts";
import { connectUnix } from "../linux/unix-socket.ts";
import { socketPaths } from "./address.ts";
import type { Value } from "./marshal.ts";
import { decodeMessage, ERROR, encodeMessage, METHOD_CALL, METHOD_RETURN, type Message, SIGNAL } from "./message.ts";

/** An error that the other side answered with; `name` is like `org.freedesktop.systemd1.UnitExists`. */
export class DbusError extends InroError {
  constructor(
    readonly dbusName: string,
    text: string,
  ) {
    super("unavailable", `${dbusName}: ${text}`);
  }
}

export interface Call {
  destination: string;
  path: string;
  interface: string;
  member: string;
  signature?: string;
  body?: Value[];
}

const BUS = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const TIMEOUT_MS = 25_000;
const MAX_SIGNALS = 10_000;

/**
 * A connection to a message bus, or with `bus` false to one service directly; every call blocks. The creator closes it.
 * An unavailable error where nobody listens or answers, or it is not D-Bus that is spoken.
 */
export class Connection {
  readonly #fd: number;
  #received = Buffer.alloc(0);
  #serial = 0;
  readonly #signals: Message[] = [];

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static open(address: string, bus = true): Connection {
    let error: unknown;
    for (const path of socketPaths(address)) {
      let connection: Connection;
      try {
        connection = new Connection(connectUnix(path));
      } catch (cause) {
        error = cause;
        continue;
      }
      try {
        connection.#authenticate();
        if (bus) connection.call({ ...BUS, member: "Hello" });
        return connection;
      } catch (cause) {
        connection.close();
        throw cause;
      }
    }
    throw unavailable(`D-Bus ${address}: ${messageOf(error)}`, error);
  }

  close(): void {
    close(this.#fd);
  }

  /** Calls a method and returns what it answers; a DbusError if that is an error. */
  call(call: Call): Value[] {
    const serial = ++this.#serial;
    this.#send({ ...call, type: METHOD_CALL, serial, body: call.body ?? [] });
    const end = performance.now() + TIMEOUT_MS;
    for (;;) {
      const message = this.#next(end, `an answer to ${call.member}`);
      if (message.type === SIGNAL) this.#keep(message);
      if (message.replySerial !== serial) continue;
      if (message.type === METHOD_RETURN) return message.body;
      if (message.type === ERROR) throw new DbusError(message.errorName ?? "", String(message.body[0] ?? ""));
    }
  }

  /** Has the bus pass on the signals of this rule (specification, "Match Rules"). */
  match(rule: string): void {
    this.call({ ...BUS, member: "AddMatch", signature: "s", body: [rule] });
  }

  /** The next signal that `wanted` takes, of those that came meanwhile or come within `timeout` ms. */
  signal(what: string, timeout: number, wanted: (message: Message) => boolean): Message {
    const end = performance.now() + timeout;
    for (;;) {
      const at = this.#signals.findIndex(wanted);
      if (at >= 0) return this.#signals.splice(at, 1)[0]!;
      const message = this.#next(end, what);
      if (message.type === SIGNAL) this.#keep(message);
    }
  }

  /** For whoever is a service: the next method call. */
  request(timeout: number): Message {
    const end = performance.now() + timeout;
    for (;;) {
      const message = this.#next(end, "a call");
      if (message.type === METHOD_CALL) return message;
    }
  }

  /** For whoever is a service: an answer, or a signal. The serial is ours to give. */
  send(message: Omit<Message, "serial">): void {
    this.#send({ ...message, serial: ++this.#serial });
  }

  #keep(message: Message): void {
    if (this.#signals.length < MAX_SIGNALS) this.#signals.push(message);
  }

  #send(message: Message): void {
    writeAll(this.#fd, encodeMessage(message));
  }

  #next(end: number, what: string): Message {
    for (;;) {
      const found = decodeMessage(this.#received);
      if (found) {
        this.#received = this.#received.subarray(found.length);
        return found.message;
      }
      this.#receive(end, what);
    }
  }

  #receive(end: number, what: string): void {
    const [ready] = poll([[this.#fd, POLLIN]], Math.max(0, end - performance.now()));
    if (!ready) throw unavailable(`D-Bus: no ${what} in time`);
    const chunk = Buffer.alloc(65536);
    const n = read(this.#fd, chunk);
    if (n === 0) throw unavailable(`D-Bus: the connection was closed before ${what}`);
    this.#received = Buffer.concat([this.#received, chunk.subarray(0, n)]);
  }

  /**
   * Specification, "Authentication Protocol". EXTERNAL without a name: we are whom the socket's credentials say, which
   * is right in a user namespace too.
   */
  #authenticate(): void {
    const line = (text: string) => writeAll(this.#fd, Buffer.from(`${text}\r\n`));
    const end = performance.now() + TIMEOUT_MS;
    line("\0AUTH EXTERNAL");
    for (;;) {
      const answer = this.#line(end);
      if (answer.startsWith("OK")) break;
      if (!/^DATA *$/.test(answer)) throw unavailable(`D-Bus: not let in: ${answer.slice(0, 100)}`);
      line("DATA");
    }
    line("BEGIN");
  }

  #line(end: number): string {
    for (;;) {
      const at = this.#received.indexOf("\r\n");
      if (at >= 0) {
        const text = this.#received.toString("latin1", 0, at);
        this.#received = this.#received.subarray(at + 2);
        return text;
      }
      if (this.#received.length > 16384) throw unavailable("D-Bus: what answers speaks another protocol");
      this.#receive(end, "authentication");
    }
  }
}
