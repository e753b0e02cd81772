import { readFileSync, statSync } from "node:fs";
import { sys } from "./call.ts";
import { bytes, room, scratch } from "./ffi.ts";

/** Numbers of capabilities(7). */
export const CAP = { setgid: 6, setuid: 7, sysAdmin: 21 } as const;

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/** Whether this process has a capability (its number) in its own user namespace: capget(2). */
export function hasCapability(number: number): boolean {
  return scratch(() => {
    const header = bytes(new Uint8Array(new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]).buffer));
    const data = room(24);
    sys("capget", "this process", header, data.address);
    // Three words for the first 32, three for the rest; the effective set is the first of each.
    const word = data.view.readUInt32LE(number < 32 ? 0 : 12);
    return ((word >>> (number & 31)) & 1) === 1;
  });
}

/** A user of this machine by /etc/passwd (passwd(5)); undefined for one that is not there. */
export function userName(uid: number): string | undefined {
  try {
    const lines = readFileSync("/etc/passwd", "utf8").split("\n");
    return lines.map((line) => line.split(":")).find((fields) => fields[2] === String(uid))?.[0];
  } catch {
    return undefined;
  }
}

/** Inode of /proc/PID/ns/user in the machine's first user namespace (USER_NS_INIT_INO, linux/nsfs.h). */
const FIRST_USER_NAMESPACE = 0xefff_fffd;

/** Whether this process lives in a user namespace that somebody made: some things are refused there to every root. */
export function inUserNamespace(): boolean {
  return statSync("/proc/self/ns/user", { throwIfNoEntry: false })?.ino !== FIRST_USER_NAMESPACE;
}
