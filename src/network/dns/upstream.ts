import { randomInt } from "node:crypto";
import { AnswerCache } from "./cache.ts";
import { answersQuery, isTruncated, type Query, RCODE, rcodeOf, readdressed } from "./message.ts";

/** How long a server may take; then all are asked once more. */
const PATIENCE_MS = 2000;
const ROUNDS = 2;
const MOST_UNDER_WAY = 1024;
const DNS_PORT = 53;

/** A server of the world: an address, and a port where it is not 53. */
export interface Server {
  address: string;
  port?: number;
}

/** Asks the servers that the host or a container names, from the host: all at once, and the first good answer counts. */
export class Upstream {
  readonly #cache = new AnswerCache();
  readonly #underWay = new Map<string, Promise<Buffer | undefined>>();

  /** An answer for `query`, whoever asked the same before; undefined when no server has one. */
  async ask(query: Query, servers: readonly Server[], transport: "udp" | "tcp"): Promise<Buffer | undefined> {
    const key = `${transport} ${servers.map(({ address, port }) => `${address}#${port ?? ""}`)} ${keyOf(query)}`;
    const cached = this.#cache.get(key);
    if (cached) return readdressed(cached, query);
    let asking = this.#underWay.get(key);
    if (!asking) {
      if (this.#underWay.size >= MOST_UNDER_WAY) return undefined;
      asking = this.#ask(query, servers, transport).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, asking);
    }
    const answer = await asking;
    if (!answer) return undefined;
    if (!isTruncated(answer)) this.#cache.put(key, answer);
    return readdressed(answer, query);
  }

  async #ask(query: Query, servers: readonly Server[], transport: "udp" | "tcp"): Promise<Buffer | undefined> {
    let second: Buffer | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      const asked = servers.map(async (server) => {
        const answer = await (transport === "udp" ? askByUdp : askByTcp)(query, server);
        // Of another server's refusal the client has nothing while there is a better answer.
        if (rcodeOf(answer) !== RCODE.noError && rcodeOf(answer) !== RCODE.nameError) {
          second ??= answer;
          throw new Error("no good answer");
        }
        return answer;
      });
      try {
        return await Promise.any(asked);
      } catch {
        if (second) return second;
      }
    }
    return undefined;
  }
}

/** The question as such: what comes after it (EDNS, its flags) may change the answer. */
function keyOf({ raw, name, type }: Query): string {
  return `${name.toLowerCase()} ${type} ${Buffer.from(raw).toString("latin1", 2, 4)} ${raw.length - name.length}`;
}

/** Under an id of our own, from a port of its own: who would forge an answer has to guess both (RFC 5452). */
function disguised({ raw }: Query): { id: number; message: Buffer } {
  const id = randomInt(0x10000);
  const message = Buffer.from(raw);
  message.writeUInt16BE(id, 0);
  return { id, message };
}

async function askByUdp(query: Query, { address, port = DNS_PORT }: Server): Promise<Buffer> {
  const { id, message } = disguised(query);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const timer = setTimeout(() => reject(new Error(`${address} does not answer`)), PATIENCE_MS);
  let socket: Bun.udp.ConnectedSocket<"buffer"> | undefined;
  try {
    socket = await Bun.udpSocket({
      connect: { hostname: address, port },
      socket: {
        data: (_, data) => {
          if (answersQuery(data, id, query)) resolve(Buffer.from(data));
        },
        error: (_, error) => reject(error),
      },
    });
    socket.send(message);
    return await promise;
  } finally {
    clearTimeout(timer);
    socket?.close();
  }
}

async function askByTcp(query: Query, { address, port = DNS_PORT }: Server): Promise<Buffer> {
  const { id, message } = disguised(query);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const timer = setTimeout(() => reject(new Error(`${address} does not answer`)), PATIENCE_MS);
  let received = Buffer.alloc(0);
  const connection = Bun.connect({
    hostname: address,
    port,
    socket: {
      open: (socket) => void socket.write(framed(message)),
      data: (_, data) => {
        received = Buffer.concat([received, data]);
        const [answer] = frames(received).messages;
        if (!answer) return;
        if (answersQuery(answer, id, query)) resolve(answer);
        else reject(new Error(`${address} answers another question`));
      },
      close: () => reject(new Error(`${address} closed the connection`)),
      error: (_, error) => reject(error),
      connectError: (_, error) => reject(error),
    },
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    connection.then(
      (socket) => socket.end(),
      () => undefined,
    );
  }
}

/** Over TCP two bytes say how long a message is (RFC 1035 4.2.2). */
export function framed(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

/** The whole messages in what has come, and what is left of it. */
export function frames(received: Buffer): { messages: Buffer[]; rest: Buffer } {
  const messages: Buffer[] = [];
  let at = 0;
  while (received.length - at >= 2) {
    const end = at + 2 + received.readUInt16BE(at);
    if (end > received.length) break;
    messages.push(received.subarray(at + 2, end));
    at = end;
  }
  return { messages, rest: received.subarray(at) };
}
