import { codeOf } from "../../../base/errors.ts";
import { close } from "../../../linux/file.ts";
import { connectDatagram, sendDatagram } from "../../../linux/unix-socket.ts";

/** How long a full receiver is left alone, in ms. */
const PAUSE = 2;
/** The receiver's socket was made anew. */
const GONE = ["ECONNREFUSED", "ENOTCONN", "ENOENT", "ECONNRESET"];

/** A connection to a datagram socket in the file system, made again when the receiver was. */
export class DatagramConnection {
  #fd: number | undefined;

  constructor(private readonly path: string) {}

  open(): void {
    this.#fd ??= connectDatagram(this.path);
  }

  send(data: Buffer): Promise<void> | undefined {
    for (let tries = 0; ; tries++) {
      this.open();
      try {
        return sendDatagram(this.#fd!, data) ? undefined : this.#later(data);
      } catch (error) {
        if (tries > 0 || !GONE.includes(codeOf(error) ?? "")) throw error;
        this.close();
      }
    }
  }

  async #later(data: Buffer): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    await this.send(data);
  }

  close(): void {
    if (this.#fd !== undefined) close(this.#fd);
    this.#fd = undefined;
  }
}
