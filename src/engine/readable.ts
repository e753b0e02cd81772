import { sys } from "../linux/call.ts";
import { room, scratch } from "../linux/ffi.ts";

const POLLIN = 1;

/**
 * Whether a read would return bytes now (poll(2) with no timeout). Unlike FIONREAD it is right for a pty too, where
 * bytes may be on their way from one end to the other.
 */
export function readable(fd: number): boolean {
  return scratch(() => {
    const { address, view } = room(8);
    view.writeInt32LE(fd, 0);
    view.writeInt16LE(POLLIN, 4);
    const timeout = room(16);
    sys("ppoll", `fd ${fd}`, address, 1, timeout.address, 0, 0);
    return (view.readInt16LE(6) & POLLIN) !== 0;
  });
}
