import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

/** A connection to an agent of the client's, by whatever way leads there. */
export interface AgentChannel {
  readonly read: AsyncIterable<Uint8Array>;
  /** Resolves when there is room for more. */
  write(data: Uint8Array): Promise<void>;
  /** Nothing more is written. */
  end(): void;
  /** Nobody is there any more. */
  cancel(): void;
}

/** Sockets that lead to the client's ssh agents, for as long as one build takes. */
export class AgentSockets {
  readonly #open = new Map<string, Promise<{ path: string; server: Server }>>();

  constructor(
    private readonly directory: string,
    /** Throws when the client has left. */
    private readonly connect: (id: string) => AgentChannel,
  ) {}

  /** Path of the socket for this id; made when it is asked for. */
  async socket(id: string): Promise<string> {
    const opened = this.#open.get(id) ?? this.#listen(id);
    this.#open.set(id, opened);
    return (await opened).path;
  }

  async close(): Promise<void> {
    for (const opened of this.#open.values()) {
      const { path, server } = await opened;
      server.close();
      rmSync(path, { force: true });
    }
  }

  #listen(id: string): Promise<{ path: string; server: Server }> {
    const path = join(this.directory, `agent-${randomBytes(6).toString("hex")}`);
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      let channel: AgentChannel;
      try {
        channel = this.connect(id);
      } catch {
        // The build is about to hear of it.
        socket.destroy();
        return;
      }
      socket.on("data", (data: Buffer) => {
        socket.pause();
        channel.write(data).then(
          () => socket.resume(),
          () => socket.destroy(),
        );
      });
      socket.on("end", () => channel.end());
      socket.on("close", () => channel.cancel());
      answers(channel, socket).catch(() => socket.destroy());
    });
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => resolve({ path, server }));
    });
  }
}

async function answers({ read }: AgentChannel, socket: Socket): Promise<void> {
  for await (const chunk of read) {
    if (socket.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      socket.once("drain", resolve);
      socket.once("close", resolve);
    });
  }
  socket.end();
}
