import { sys, trySys } from "../src/linux/call.ts";
import * as k from "../src/linux/constants.ts";
import { addressOf, room, scratch } from "../src/linux/ffi.ts";
import { close } from "../src/linux/file.ts";

const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

/** A datagram socket in the file system, as journald and syslogd have one. */
export class Datagrams {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = sys("socket", path, k.AF_UNIX, SOCK_DGRAM | k.SOCK_CLOEXEC, 0);
    scratch(() => {
      const name = Buffer.from(path);
      const address = room(110);
      address.view.writeUInt16LE(k.AF_UNIX, 0);
      address.view.set(name, 2);
      sys("bind", path, this.#fd, address.address, 3 + name.length);
    });
  }

  /** The next `count`, when they have come. */
  async receive(count: number): Promise<Buffer[]> {
    const found: Buffer[] = [];
    const buffer = Buffer.allocUnsafeSlow(1 << 20);
    while (found.length < count) {
      const n = trySys("recvfrom", this.#fd, addressOf(buffer), buffer.length, MSG_DONTWAIT, 0, 0);
      if (n >= 0) found.push(Buffer.from(buffer.subarray(0, n)));
      else await Bun.sleep(1);
    }
    return found;
  }

  close(): void {
    close(this.#fd);
  }
}
