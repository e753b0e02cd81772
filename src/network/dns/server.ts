import { randomInt } from "node:crypto";
import { inNetworkNamespace } from "../../linux/netlink/socket.ts";
import {
  type Answer,
  addressesIn,
  encodeAnswer,
  encodeFailure,
  fitted,
  type Query,
  RCODE,
  readQuery,
} from "./message.ts";
import { redirect } from "./redirect.ts";
import { framed, frames, type Server, type Upstream } from "./upstream.ts";

/** Where a container asks: docker's address, which configurations of proxies name. */
export const DNS_ADDRESS = "127.0.0.11";

/** What a container knows by name, seen from where it is. Names come as they were asked. */
export interface Names {
  /** Addresses of a name, in the order of this answer; undefined when nobody has it. */
  find(name: string): { ipv4: readonly string[]; ipv6: readonly string[] } | undefined;
  /** The name of an address; undefined when nobody has it, null when it is not of these networks. */
  nameOf(address: string): string | undefined | null;
  /** Whom to ask for a name that is not here; none: nobody; undefined: it must not be asked for. */
  servers(name: string): readonly Server[] | undefined;
}

export interface NameServerOptions {
  /** A descriptor of the container's network namespace; it stays the caller's. */
  namespace: number;
  names: Names;
  upstream: Upstream;
  /** Told of every answer of the world before the container has it. */
  onAnswer?(name: string, addresses: readonly { address: string; ttl: number }[]): void;
}

/** Short: a container that is made anew has another address. */
const TTL_S = 5;
const MOST_CONNECTIONS = 32;
const MOST_UNDER_WAY = 256;
const IDLE_S = 10;
const FIRST_PORT = 32768;
const PORTS = 28000;
const TRIES = 8;

/**
 * The name server of one container, on its loopback: names of its networks (A, AAAA, PTR), and the world's by way of
 * the host. The container's own programs may have port 53; what is sent to ours there is led to another.
 */
export class NameServer {
  #udp: Bun.udp.Socket<"buffer"> | undefined;
  #tcp: Bun.TCPSocketListener<Connection> | undefined;
  #connections = 0;
  #underWay = 0;

  private constructor(private readonly options: NameServerOptions) {}

  /** Serves when it resolves. The caller closes it. */
  static async open(options: NameServerOptions): Promise<NameServer> {
    const server = new NameServer(options);
    try {
      for (let tries = 1; ; tries++) {
        try {
          await server.#listen(FIRST_PORT + randomInt(PORTS));
          return server;
        } catch (error) {
          server.close();
          if (tries === TRIES) throw error;
        }
      }
    } catch (error) {
      server.close();
      throw error;
    }
  }

  async #listen(port: number): Promise<void> {
    const { namespace } = this.options;
    const udp = inNetworkNamespace(namespace, () => {
      this.#tcp = Bun.listen<Connection>({ hostname: DNS_ADDRESS, port, socket: this.#handlers() });
      return Bun.udpSocket({
        hostname: DNS_ADDRESS,
        port,
        socket: {
          data: (socket, data, port, address) => {
            void this.#answer(data, "udp").then((answer) => {
              if (answer && !socket.closed) socket.send(answer, port, address);
            });
          },
        },
      });
    });
    this.#udp = await udp;
    redirect(namespace, DNS_ADDRESS, port);
  }

  close(): void {
    this.#udp?.close();
    this.#tcp?.stop(true);
    this.#udp = undefined;
    this.#tcp = undefined;
  }

  #handlers(): Bun.SocketHandler<Connection> {
    return {
      open: (socket) => {
        socket.data = { received: Buffer.alloc(0) };
        socket.timeout(IDLE_S);
        if (++this.#connections > MOST_CONNECTIONS) socket.terminate();
      },
      data: (socket, data) => {
        socket.timeout(IDLE_S);
        const { messages, rest } = frames(Buffer.concat([socket.data.received, data]));
        socket.data.received = rest;
        for (const message of messages) {
          void this.#answer(message, "tcp").then((answer) => {
            if (answer) socket.write(framed(answer));
          });
        }
      },
      timeout: (socket) => void socket.terminate(),
      close: () => {
        this.#connections--;
      },
    };
  }

  /** Never rejects. */
  async #answer(raw: Uint8Array, transport: "udp" | "tcp"): Promise<Buffer | undefined> {
    if (this.#underWay >= MOST_UNDER_WAY) return undefined;
    this.#underWay++;
    try {
      const query = readQuery(Buffer.from(raw));
      if (!query) return undefined;
      if ("rcode" in query) return encodeFailure(query.id, query.rcode);
      const answer = this.#own(query) ?? (await this.#forward(query, transport));
      return transport === "udp" ? fitted(answer, query) : answer;
    } catch {
      return undefined;
    } finally {
      this.#underWay--;
    }
  }

  /** What is known here; undefined if others have to be asked. */
  #own(query: Query): Buffer | undefined {
    const { names } = this.options;
    const name = query.name.toLowerCase();
    const address = addressOf(name);
    if (address !== undefined) {
      const found = names.nameOf(address);
      if (found === null) return undefined;
      if (found === undefined) return encodeAnswer(query, RCODE.nameError);
      const answers: Answer[] = query.type === "PTR" ? [{ type: "PTR", data: found }] : [];
      return encodeAnswer(query, RCODE.noError, answers, TTL_S);
    }
    const found = names.find(name);
    if (found) {
      const answers: Answer[] = [
        ...(query.type === "A" || query.type === "ANY" ? found.ipv4.map((data) => ({ type: "A" as const, data })) : []),
        ...(query.type === "AAAA" || query.type === "ANY"
          ? found.ipv6.map((data) => ({ type: "AAAA" as const, data }))
          : []),
      ];
      return encodeAnswer(query, RCODE.noError, answers, TTL_S);
    }
    // A name of one label is one of ours or nobody's: whoever reads the world's questions must not learn it.
    if (!name.includes(".") && name !== "") return encodeAnswer(query, RCODE.nameError);
    return undefined;
  }

  async #forward(query: Query, transport: "udp" | "tcp"): Promise<Buffer> {
    const { names, upstream, onAnswer } = this.options;
    const servers = names.servers(query.name);
    if (!servers) return encodeAnswer(query, RCODE.refused);
    const answer = servers.length > 0 ? await upstream.ask(query, servers, transport) : undefined;
    if (!answer) return encodeAnswer(query, RCODE.serverFailure);
    onAnswer?.(query.name.toLowerCase(), addressesIn(answer));
    return answer;
  }
}

interface Connection {
  received: Buffer;
}

/** The address that a name of the reverse zones stands for (RFC 1035 3.5, RFC 3596 2.5). */
export function addressOf(name: string): string | undefined {
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (v4) return v4.slice(1).reverse().join(".");
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name);
  const digits = v6?.[1]?.replaceAll(".", "").split("").reverse().join("");
  return digits?.replace(/(.{4})(?!$)/g, "$1:");
}
