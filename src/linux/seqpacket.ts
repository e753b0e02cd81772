import { SysError } from "../base/errors.ts";
import { sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { addressOf, room, scratch } from "./ffi.ts";
import { close } from "./file.ts";
import { POLLIN, poll } from "./poll.ts";

/** AF_UNIX sockets of type SOCK_SEQPACKET (unix(7)): messages with bounds, in order. */

const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path, with its NUL. */
const MAX_PATH = 107;
const EAGAIN = -11;

function withAddress<T>(path: string, body: (address: number, length: number) => T): T {
  const name = Buffer.from(path);
  if (name.length > MAX_PATH) throw new SysError("socket", path, 36, `a socket's path has at most ${MAX_PATH} bytes`);
  return scratch(() => {
    const address = room(MAX_PATH + 3);
    address.view.writeUInt16LE(k.AF_UNIX, 0);
    address.view.set(name, 2);
    return body(address.address, name.length + 3);
  });
}

const open = (path: string, flags: number) =>
  sys("socket", path, k.AF_UNIX, SOCK_SEQPACKET | k.SOCK_CLOEXEC | flags, 0);

/** Listens at `path`, which must not exist. Accepting does not block. The caller closes the descriptor. */
export function listenPackets(path: string, backlog: number): number {
  const fd = open(path, SOCK_NONBLOCK);
  try {
    withAddress(path, (address, length) => sys("bind", path, fd, address, length));
    sys("listen", path, fd, backlog);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Whether somebody listens at `path`. */
export function isListening(path: string): boolean {
  const fd = open(path, SOCK_NONBLOCK);
  try {
    const result = withAddress(path, (address, length) => trySys("connect", fd, address, length));
    return result === 0 || result === EAGAIN;
  } finally {
    close(fd);
  }
}

/** The next connection, which the caller closes; undefined where nobody waits. */
export function accept(listener: number): number | undefined {
  const fd = trySys("accept4", listener, 0, 0, k.SOCK_CLOEXEC);
  // ECONNABORTED and the like are of that connection.
  return fd < 0 ? undefined : fd;
}

/** Sends a message; false where it does not go now: the other end is gone, or reads nothing. */
export function sendPacket(fd: number, message: Uint8Array): boolean {
  const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  return trySys("sendto", fd, addressOf(message), message.length, flags, 0, 0) === message.length;
}

/** The next message, within `timeout` ms; empty when the other end is gone, undefined when none came. Blocks. */
export function receivePacket(fd: number, size: number, timeout: number): Buffer | undefined {
  if (poll([[fd, POLLIN]], timeout)[0] === 0) return undefined;
  const buffer = Buffer.alloc(size);
  const n = trySys("recvfrom", fd, addressOf(buffer), size, MSG_DONTWAIT, 0, 0);
  if (n === EAGAIN) return undefined;
  return buffer.subarray(0, Math.max(n, 0));
}
