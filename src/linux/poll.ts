import { SysError } from "../base/errors.ts";
import { trySys } from "./call.ts";
import { room, scratch } from "./ffi.ts";

/** poll(2) events. */
export const POLLIN = 1;
export const POLLPRI = 2;
export const POLLOUT = 4;

/**
 * ppoll(2): what has happened on each descriptor, after at most `timeout` ms (below 0: however long it takes); all 0 then.
 * Blocks.
 */
export function poll(fds: readonly (readonly [fd: number, events: number])[], timeout: number): number[] {
  return scratch(() => {
    const set = room(fds.length * 8);
    fds.forEach(([fd, events], i) => {
      set.view.writeInt32LE(fd, i * 8);
      set.view.writeInt16LE(events, i * 8 + 4);
    });
    const time = room(16);
    time.view.writeBigInt64LE(BigInt(Math.floor(timeout / 1000)), 0);
    time.view.writeBigInt64LE(BigInt(Math.floor((timeout % 1000) * 1e6)), 8);
    const n = trySys("ppoll", set.address, fds.length, timeout < 0 ? 0 : time.address, 0, 8);
    if (n < 0) throw new SysError("ppoll", "", -n);
    return fds.map((_, i) => set.view.readInt16LE(i * 8 + 6));
  });
}

/** Whether a read would return bytes now. Unlike FIONREAD it is right for a pty too, where bytes may be on their way. */
export const readable = (fd: number): boolean => (poll([[fd, POLLIN]], 0)[0]! & POLLIN) !== 0;
