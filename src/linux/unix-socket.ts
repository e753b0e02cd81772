import { SysError } from "../base/errors.ts";
import { sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { addressOf, room, scratch } from "./ffi.ts";
import { close, writeAll } from "./file.ts";

/** Longest path of a socket (unix(7), sun_path, with its NUL). */
const MAX_PATH = 107;

const SEND_SECONDS = 5;
const SO_SNDTIMEO = 21;

/** Connects to the AF_UNIX stream socket at `path`, an abstract one if it begins with NUL. The caller closes the descriptor, which is CLOEXEC. */
export function connectUnix(path: string): number {
  const name = Buffer.from(path);
  if (name.length > MAX_PATH) {
    throw new SysError("connect", path, 36, `a socket's path has at most ${MAX_PATH} bytes`);
  }
  const fd = sys("socket", path, k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC, 0);
  try {
    scratch(() => {
      const address = room(MAX_PATH + 3);
      address.view.writeUInt16LE(k.AF_UNIX, 0);
      address.view.set(name, 2);
      // One whose queue is full would hold us up for as long as nobody accepts (EAGAIN after this).
      const timeout = room(16);
      timeout.view.writeBigInt64LE(BigInt(SEND_SECONDS), 0);
      sys("setsockopt", path, fd, k.SOL_SOCKET, SO_SNDTIMEO, timeout.address, 16);
      sys("connect", path, fd, address.address, 2 + name.length + (name[0] === 0 ? 0 : 1));
    });
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Sends all of `data`, which is not empty, and with its first byte a copy of descriptor `fd` (SCM_RIGHTS). Blocks. */
export function sendWithDescriptor(socket: number, data: Uint8Array, fd: number): void {
  const sent = scratch(() => {
    const iov = room(16);
    iov.view.writeBigUInt64LE(BigInt(addressOf(data)), 0);
    iov.view.writeBigUInt64LE(BigInt(data.length), 8);
    const control = room(24);
    control.view.writeBigUInt64LE(20n, 0);
    control.view.writeInt32LE(k.SOL_SOCKET, 8);
    control.view.writeInt32LE(k.SCM_RIGHTS, 12);
    control.view.writeInt32LE(fd, 16);
    const header = room(56);
    header.view.writeBigUInt64LE(BigInt(iov.address), 16);
    header.view.writeBigUInt64LE(1n, 24);
    header.view.writeBigUInt64LE(BigInt(control.address), 32);
    header.view.writeBigUInt64LE(24n, 40);
    return sys("sendmsg", `fd ${socket}`, socket, header.address, MSG_NOSIGNAL);
  });
  if (sent < data.length) writeAll(socket, data.subarray(sent));
}

/** The descriptor that comes with the next message of one byte (SCM_RIGHTS). Blocks. CLOEXEC; the caller closes it. */
export function receiveDescriptor(socket: number): number {
  return scratch(() => {
    const byte = room(8);
    const iov = room(16);
    iov.view.writeBigUInt64LE(BigInt(byte.address), 0);
    iov.view.writeBigUInt64LE(1n, 8);
    const control = room(24);
    const header = room(56);
    header.view.writeBigUInt64LE(BigInt(iov.address), 16);
    header.view.writeBigUInt64LE(1n, 24);
    header.view.writeBigUInt64LE(BigInt(control.address), 32);
    header.view.writeBigUInt64LE(24n, 40);
    const received = sys("recvmsg", `fd ${socket}`, socket, header.address, MSG_CMSG_CLOEXEC);
    const complete =
      received === 1 && header.view.readBigUInt64LE(40) >= 20n && control.view.readInt32LE(12) === k.SCM_RIGHTS;
    if (!complete) throw new SysError("recvmsg", `fd ${socket}`, ECONNRESET, "no descriptor came");
    return control.view.readInt32LE(16);
  });
}

const ECONNRESET = 104;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MSG_NOSIGNAL = 0x4000;

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const EAGAIN = 11;

/** A datagram socket connected to that at `path`. The caller closes the descriptor, which is CLOEXEC and does not block. */
export function connectDatagram(path: string): number {
  const name = Buffer.from(path);
  if (name.length > MAX_PATH) throw new SysError("connect", path, 36, `a socket's path has at most ${MAX_PATH} bytes`);
  const fd = sys("socket", path, k.AF_UNIX, SOCK_DGRAM | k.SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    scratch(() => {
      const address = room(MAX_PATH + 3);
      address.view.writeUInt16LE(k.AF_UNIX, 0);
      address.view.set(name, 2);
      sys("connect", path, fd, address.address, 3 + name.length);
    });
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Sends one datagram; false when the receiver's queue is full. */
export function sendDatagram(fd: number, data: Uint8Array): boolean {
  const n = trySys("sendto", fd, addressOf(data), data.length, MSG_NOSIGNAL, 0, 0);
  if (n === -EAGAIN) return false;
  if (n < 0) throw new SysError("send", `fd ${fd}`, -n);
  return true;
}
