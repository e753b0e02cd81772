import { trySys } from "./call.ts";
import { room, scratch } from "./ffi.ts";

const TCGETS = 0x5401;
const TCSETS = 0x5402;
/** c_oflag of struct termios, after c_iflag. */
const OFLAG = 4;
const OPOST = 1;

/**
 * Switches output processing off (termios(3): OPOST), so that what a container's terminal has processed already goes
 * through as it is. Not a terminal: nothing happens.
 */
export function rawOutput(fd: number): void {
  scratch(() => {
    const { address, view } = room(64);
    if (trySys("ioctl", fd, TCGETS, address) < 0) return;
    view.writeUInt32LE(view.readUInt32LE(OFLAG) & ~OPOST, OFLAG);
    trySys("ioctl", fd, TCSETS, address);
  });
}
