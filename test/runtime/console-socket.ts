import { chmodSync, closeSync } from "node:fs";
import { sys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { room, scratch } from "../../src/linux/ffi.ts";
import { setNonblock } from "../../src/linux/process.ts";
import { receiveDescriptor } from "../../src/runtime/oci/console.ts";

/** What conmon or a shim listens on, since Bun's sockets take no descriptors. */
export class ConsoleSocket {
  readonly #fd = sys("socket", "", k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC, 0);
  constructor(path: string) {
    scratch(() => {
      const address = room(110);
      address.view.writeUInt16LE(k.AF_UNIX, 0);
      address.view.write(path, 2);
      sys("bind", path, this.#fd, address.address, 110);
    });
    sys("listen", path, this.#fd, 1);
    chmodSync(path, 0o666);
  }

  /** The master that the runtime has sent by now. */
  receive(): number {
    const connection = sys("accept4", "", this.#fd, 0, 0, k.SOCK_CLOEXEC);
    const master = receiveDescriptor(connection);
    closeSync(connection);
    closeSync(this.#fd);
    if (master === undefined) throw new Error("nothing was sent");
    return master;
  }
}

/** All that comes out of a terminal until its other side is closed. */
export async function readTerminal(master: number): Promise<string> {
  setNonblock(master, true);
  let text = "";
  try {
    for await (const chunk of Bun.file(master).stream()) text += Buffer.from(chunk).toString();
  } catch {
    // EIO is how a terminal ends.
  }
  return text;
}
