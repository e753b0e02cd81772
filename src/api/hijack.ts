import type { Duplex } from "node:stream";
import { codeOf } from "../base/errors.ts";
import type { Hijack } from "./call.ts";
import { type Departure, room } from "./departure.ts";

/** Time for a client to read the header before the output comes. */
const GLUED_MS = 25;

/** The connection becomes the process's stdio, in both directions, with back-pressure; `count` hears of what goes out. */
export async function hijack(
  stream: Hijack,
  raw: { socket: Duplex; head: Buffer; glues: boolean },
  gone: Departure,
  count: (bytes: number) => void,
): Promise<void> {
  const { socket, head } = raw;
  gone.signal.addEventListener("abort", () => stream.close(), { once: true });
  try {
    const { name, headers } = stream.protocol ?? { name: "tcp", headers: { "Content-Type": stream.type } };
    const lines = Object.entries({ ...headers, Connection: "Upgrade", Upgrade: name });
    socket.write(`HTTP/1.1 101 UPGRADED\r\n${lines.map(([key, value]) => `${key}: ${value}\r\n`).join("")}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 0));
    readInput(stream, socket, head);
    // docker-py loses what it reads together with the header.
    if (raw.glues) await new Promise((resolve) => setTimeout(resolve, GLUED_MS));
    for await (const chunk of stream.output) {
      if (gone.happened) break;
      count(chunk.length);
      if (!socket.write(chunk)) await room(socket);
    }
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => {
      socket.end(() => resolve());
      socket.once("close", () => resolve());
    });
  } catch (error) {
    if (codeOf(error) !== "EPIPE" && !gone.happened) socket.destroy();
  } finally {
    stream.close();
    socket.destroy();
  }
}

/** By events: leaving a `for await` would destroy the socket on the client's half-close, with the output still to come. */
function readInput(stream: Hijack, socket: Duplex, head: Buffer): void {
  const take = (chunk: Buffer) => {
    socket.pause();
    stream.input(chunk).then(
      () => socket.resume(),
      () => stream.close(),
    );
  };
  socket.on("data", take);
  const end = () => void stream.endInput().catch(() => stream.close());
  // Bun tells of the end at once, also where nobody has begun to read.
  if (socket.readableEnded) return void stream.input(head).then(end, () => stream.close());
  socket.once("end", end);
  if (head.length > 0) take(head);
  else socket.resume();
}
