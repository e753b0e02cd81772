import { trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { room, scratch } from "../../linux/ffi.ts";

/** Takes the descriptor that waits on the socket, if there is one; CLOEXEC, the caller closes it. */
export function receiveDescriptor(socket: number): number | undefined {
  return scratch(() => {
    const data = room(16);
    const iov = room(16);
    iov.view.writeBigUInt64LE(BigInt(data.address), 0);
    iov.view.writeBigUInt64LE(16n, 8);
    const control = room(24);
    const header = room(56);
    header.view.writeBigUInt64LE(BigInt(iov.address), 16);
    header.view.writeBigUInt64LE(1n, 24);
    header.view.writeBigUInt64LE(BigInt(control.address), 32);
    header.view.writeBigUInt64LE(24n, 40);
    const MSG_DONTWAIT = 0x40;
    const MSG_CMSG_CLOEXEC = 0x4000_0000;
    const n = trySys("recvmsg", socket, header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0 || control.view.readInt32LE(12) !== k.SCM_RIGHTS) return undefined;
    return control.view.readInt32LE(16);
  });
}
