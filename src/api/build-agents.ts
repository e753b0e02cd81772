import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { BuildConnection } from "./build-connection.ts";

/** Sockets that lead to the client's ssh agents, for as long as one build takes. */
export class AgentSockets {
  readonly #open = new Map<string, Promise<{ path: string; server: Server }>>();

  constructor(
    private readonly directory: string,
    private readonly connection: BuildConnection,
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
    const server = createServer({ allowHalfOpen: true }, async (socket) => {
      const channel = this.connection.channel({ ask: "agent", agent: id });
      socket.on("data", (data: Buffer) => channel.write(data));
      socket.on("end", () => channel.end());
      socket.on("error", () => socket.destroy());
      try {
        for await (const chunk of channel.read) socket.write(chunk);
        socket.end();
      } catch {
        socket.destroy();
      }
    });
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => resolve({ path, server }));
    });
  }
}
