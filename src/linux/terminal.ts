import { trySys } from "./call.ts";
import * as k from "./constants.ts";
import { room, scratch } from "./ffi.ts";

/** sizeof(struct termios) of the kernel (asm-generic/termbits.h), and then some. */
const TERMIOS_SIZE = 64;
const C_OFLAG = 4;
const OPOST = 1;

/** Turns off what a terminal does to the output (termios(3), OPOST). Nothing happens where `fd` is none. */
export function rawOutput(fd: number): void {
  scratch(() => {
    const { address, view } = room(TERMIOS_SIZE);
    if (trySys("ioctl", fd, k.TCGETS, address) < 0) return;
    view.writeUInt32LE((view.readUInt32LE(C_OFLAG) & ~OPOST) >>> 0, C_OFLAG);
    trySys("ioctl", fd, k.TCSETS, address);
  });
}
