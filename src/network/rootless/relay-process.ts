import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";
import { messageOf } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { pidfdGetfd, pidfdOpen } from "../../linux/process.ts";
import type { RelayOrder } from "./door.ts";

type Order = Extract<RelayOrder, { open: string }>;

/** An answer to a datagram may take so long; after that who asked is forgotten. */
const UDP_IDLE_MS = 90_000;
/** Clients of one UDP port that are remembered; of more the eldest is forgotten. */
const UDP_CLIENTS = 1000;

/** The relay's process: orders on stdin, until its end. `engine` is the pid whose descriptors they name. */
export async function relayMain(engine: string): Promise<number> {
  const pidfd = pidfdOpen(Number(engine));
  const opened = new Map<string, () => void>();
  let held = "";
  for await (const chunk of Bun.stdin.stream()) {
    const lines = (held + Buffer.from(chunk).toString()).split("\n");
    held = lines.pop()!;
    for (const line of lines) {
      try {
        const order = JSON.parse(line) as RelayOrder;
        if ("close" in order) {
          opened.get(order.close)?.();
          opened.delete(order.close);
        } else
          opened.set(order.open, (order.protocol === "tcp" ? relayTcp : relayUdp)(pidfdGetfd(pidfd, order.fd), order));
      } catch (error) {
        process.stderr.write(`${messageOf(error)}\n`);
      }
    }
  }
  return 0;
}

function relayTcp(fd: number, { address, port }: Order): () => void {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const target = connect({ host: address, port, allowHalfOpen: true });
    for (const [one, other] of [
      [client, target],
      [target, client],
    ] as const) {
      open.add(one);
      one.setNoDelay(true);
      one.on("error", () => {
        one.destroy();
        // Whoever is at the other end hears of it as a reset.
        other.resetAndDestroy?.();
      });
      one.on("close", () => {
        open.delete(one);
        if (one.readableAborted) other.destroy();
      });
    }
    target.on("connect", () => {
      client.pipe(target);
      target.pipe(client);
      client.resume();
    });
  });
  server.on("error", (error) => process.stderr.write(`${messageOf(error)}\n`));
  server.listen({ fd });
  return () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
}

function relayUdp(fd: number, { address, port, family }: Order): () => void {
  const type = family === 4 ? "udp4" : "udp6";
  const outer = createSocket(type);
  const clients = new Map<string, { socket: UdpSocket; timer: NodeJS.Timeout }>();
  const forget = (key: string) => {
    const client = clients.get(key);
    if (!client) return;
    clients.delete(key);
    clearTimeout(client.timer);
    client.socket.close();
  };
  outer.on("message", (data: Buffer, from: RemoteInfo) => {
    const key = `${from.address} ${from.port}`;
    let client = clients.get(key);
    if (!client) {
      if (clients.size >= UDP_CLIENTS) forget(clients.keys().next().value!);
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      socket.on("message", (answer: Buffer) => {
        clients.get(key)?.timer.refresh();
        outer.send(answer, from.port, from.address);
      });
      socket.on("error", () => forget(key));
      client = { socket, timer: setTimeout(() => forget(key), UDP_IDLE_MS) };
      clients.set(key, client);
    }
    client.timer.refresh();
    client.socket.send(data, port, address);
  });
  outer.on("error", (error) => process.stderr.write(`${messageOf(error)}\n`));
  outer.bind({ fd });
  return () => {
    for (const key of [...clients.keys()]) forget(key);
    outer.close();
    close(fd);
  };
}

// No top-level await: the single binary is compiled to bytecode, which has none.
if (import.meta.main) {
  relayMain(process.argv[2] ?? "").then((code) => process.exit(code));
}
