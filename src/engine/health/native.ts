import { codeOf, conflict, errnoOfName, InroError, SysError } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { inNetworkNamespace } from "../../linux/netlink/socket.ts";
import { beginConnect, connected, nameOf, type TcpAddress } from "../../linux/tcp.ts";
import type { Probe } from "../config/health.ts";
import type { Container } from "../container.ts";
import { openNamespaceOf } from "../join.ts";

/** A status line comes first, so this is much more than it takes to see one. */
const LONGEST_ANSWER = 8192;

const ENOTCONN = 107;

/** Why a connection did not come about, as far as the kernel still tells. */
function failureOf(fd: number, address: TcpAddress): unknown {
  try {
    connected(fd, address);
    return undefined;
  } catch (error) {
    return error;
  }
}

/**
 * A probe by the engine itself: its socket is of the container's network namespace, all else is the engine's. What the
 * other side sends is hostile: a status line is looked for in a bounded number of bytes.
 */
export class NativeProbe {
  readonly output = "";
  #socket: Bun.Socket | undefined;
  #killed = false;

  constructor(
    private readonly container: Container,
    private readonly probe: Exclude<Probe, { kind: "command" }>,
  ) {}

  /** What keeps it from connecting is a failure of the container, and an output. */
  async run(): Promise<{ exitCode: number; output: string }> {
    const { probe } = this;
    try {
      if (probe.kind === "tcp") {
        await this.#exchange(probe.address, "", () => true);
        return { exitCode: 0, output: "" };
      }
      let answer = "";
      const { host, path } = probe;
      const lines = [`GET ${path} HTTP/1.1`, `Host: ${host}`, "User-Agent: inro-health", "Accept: */*"];
      await this.#exchange(probe.address, `${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`, (data) => {
        answer += data.toString("latin1", 0, LONGEST_ANSWER - answer.length);
        return answer.includes("\n") || answer.length >= LONGEST_ANSWER;
      });
      const [, status, reason = ""] = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n/.exec(answer) ?? [];
      if (status === undefined) return { exitCode: 1, output: `GET ${path}: no HTTP answer` };
      const healthy = Number(status) >= 200 && Number(status) < 400;
      return { exitCode: healthy ? 0 : 1, output: `GET ${path}: ${status} ${reason.slice(0, 256)}`.trimEnd() };
    } catch (error) {
      if (error instanceof InroError) throw error;
      return { exitCode: 1, output: (error as Error).message };
    }
  }

  /** Connects, sends `request` and gives what comes to `receive` until that has enough or it ends. */
  async #exchange(address: TcpAddress, request: string, receive: (data: Buffer) => boolean): Promise<void> {
    const fd = this.#connect(address);
    let adopted = false;
    try {
      // On its own machine a connection is made by now, or was refused.
      if (connected(fd, address) && request === "") return;
      await new Promise<void>((resolve, reject) => {
        let open = false;
        /** Bun calls a connection open that is still under way, and tells of its end one way or the other here. */
        const proceed = (socket: Bun.Socket) => {
          this.#socket = socket;
          if (open) return;
          if (this.#killed) return void socket.terminate();
          try {
            if (!connected(fd, address)) return;
          } catch (error) {
            return reject(error);
          }
          open = true;
          if (request === "") resolve();
          else socket.write(request);
        };
        const failed = (error: unknown) =>
          reject(new SysError("connect", nameOf(address), errnoOfName(codeOf(error) ?? "") ?? ENOTCONN));
        const connection = Bun.connect({
          fd,
          socket: {
            open: proceed,
            drain: proceed,
            data: (_: Bun.Socket, data: Buffer) => receive(data) && resolve(),
            end: () => (open ? resolve() : failed(failureOf(fd, address))),
            close: (_: Bun.Socket, error?: Error) => (open ? resolve() : failed(error)),
            error: (_: Bun.Socket, error: Error) => (open ? reject(error) : failed(error)),
          },
        } as unknown as Parameters<typeof Bun.connect>[0]);
        adopted = true;
        connection.catch(reject);
      });
    } finally {
      if (adopted) this.#socket?.terminate();
      else close(fd);
    }
  }

  #connect(address: TcpAddress): number {
    const { running } = this.container;
    const namespace = running && openNamespaceOf(running, "network");
    if (namespace === undefined) throw conflict(`container ${this.container.id} is not running`);
    try {
      return inNetworkNamespace(namespace, () => beginConnect(address));
    } finally {
      close(namespace);
    }
  }

  kill(): void {
    this.#killed = true;
    this.#socket?.terminate();
  }
}
