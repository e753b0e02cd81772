import { chmodSync, closeSync } from "node:fs";
import { sys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { room, scratch } from "../../src/linux/ffi.ts";
import { setNonblock } from "../../src/linux/process.ts";

/** What conmon or a shim listens on, since Bun's sockets take no descriptors. */
export class ConsoleSocket {
  // Who has not connected by now is an error, not something to wait for.
  readonly #fd = sys("socket", "", k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC | k.O_NONBLOCK, 0);
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
    return this.receiveAll().fd;
  }

  /** The descriptor that has been sent by now, and what came with it. The caller closes it. */
  receiveAll(): { fd: number; data: string } {
    const connection = sys("accept4", "", this.#fd, 0, 0, k.SOCK_CLOEXEC);
    try {
      return scratch(() => {
        const data = room(65536);
        const iov = room(16);
        iov.view.writeBigUInt64LE(BigInt(data.address), 0);
        iov.view.writeBigUInt64LE(65536n, 8);
        const control = room(24);
        const header = room(56);
        header.view.writeBigUInt64LE(BigInt(iov.address), 16);
        header.view.writeBigUInt64LE(1n, 24);
        header.view.writeBigUInt64LE(BigInt(control.address), 32);
        header.view.writeBigUInt64LE(24n, 40);
        const MSG_DONTWAIT = 0x40;
        const MSG_CMSG_CLOEXEC = 0x4000_0000;
        const n = sys("recvmsg", "", connection, header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (control.view.readInt32LE(12) !== k.SCM_RIGHTS) throw new Error("no descriptor was sent");
        return { fd: control.view.readInt32LE(16), data: data.view.toString("utf8", 0, n) };
      });
    } finally {
      closeSync(connection);
      closeSync(this.#fd);
    }
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
