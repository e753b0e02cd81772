import { sys } from "./call.ts";
import * as k from "./constants.ts";
import { room, scratch } from "./ffi.ts";

const SO_PEERCRED = 17;
const SO_DOMAIN = 39;

/** Who connected a unix socket, as of then (unix(7), SO_PEERCRED); pid 0 is a process of a pid namespace that we do not see. */
export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/** The credentials of the other end of the connected unix socket `fd`. SysError where it is no socket. */
export function peerCredentials(fd: number): PeerCredentials {
  const view = socketOption(fd, SO_PEERCRED, 12);
  return { pid: view.readInt32LE(0), uid: view.readUInt32LE(4), gid: view.readUInt32LE(8) };
}

/** The address family of a socket, such as AF_UNIX (socket(7), SO_DOMAIN). SysError where `fd` is none. */
export function socketDomain(fd: number): number {
  return socketOption(fd, SO_DOMAIN, 4).readInt32LE(0);
}

/** Makes a descriptor that somebody else opened stay in this process. */
export function closeOnExec(fd: number): void {
  sys("fcntl", `fd ${fd}`, fd, k.F_SETFD, FD_CLOEXEC);
}

const FD_CLOEXEC = 1;

function socketOption(fd: number, option: number, size: number): Buffer {
  return scratch(() => {
    const value = room(size);
    const length = room(4);
    length.view.writeUInt32LE(size, 0);
    sys("getsockopt", `fd ${fd}`, fd, k.SOL_SOCKET, option, value.address, length.address);
    return Buffer.from(value.view);
  });
}
