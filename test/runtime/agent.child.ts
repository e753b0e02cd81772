/**
 * For tests, a program: a seccomp agent. It listens on the socket argv[2], prints the state of each connection as a line,
 * and answers the notifications that come by the descriptor sent with it (seccomp_unotify(2)): what argv[3] (JSON, name
 * of a call → errno to fail with) names, is printed and refused; all else goes on.
 */
import { chmodSync } from "node:fs";
import { NATIVE_ABI, sys, trySys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { bytes, room, scratch } from "../../src/linux/ffi.ts";
import { syscallNumber } from "../../src/linux/syscall-numbers.ts";

const [path, refused] = process.argv.slice(2) as [string, string];
const refuse = new Map(
  Object.entries(JSON.parse(refused) as Record<string, number>).map(([name, errno]) => [
    syscallNumber(NATIVE_ABI, name)!,
    { name, errno },
  ]),
);
const SECCOMP_IOCTL_NOTIF_RECV = 0xc050_2100;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc018_2101;
const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
const POLLIN = 1;

const socket = sys("socket", "", k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC, 0);
scratch(() => {
  const address = room(110);
  address.view.writeUInt16LE(k.AF_UNIX, 0);
  address.view.write(path, 2);
  sys("bind", path, socket, address.address, 110);
});
sys("listen", path, socket, 8);
// Whoever starts the containers may connect.
chmodSync(path, 0o777);
const listeners = new Set<number>();
console.log("listening");

for (;;) {
  const open = [socket, ...listeners];
  const ready = scratch(() => {
    const polls = room(open.length * 8);
    for (const [i, fd] of open.entries()) {
      polls.view.writeInt32LE(fd, i * 8);
      polls.view.writeInt16LE(POLLIN, i * 8 + 4);
    }
    sys("ppoll", "", polls.address, open.length, 0, 0, 8);
    return open.map((fd, i) => [fd, polls.view.readInt16LE(i * 8 + 6)] as const);
  });
  for (const [fd, events] of ready) {
    if (events === 0) continue;
    if (fd === socket) accept();
    else if (events & POLLIN) answer(fd);
    else {
      trySys("close", fd);
      listeners.delete(fd);
    }
  }
}

function accept(): void {
  const connection = sys("accept4", path, socket, 0, 0, k.SOCK_CLOEXEC);
  scratch(() => {
    const data = room(65536);
    const iov = bytes(new Uint8Array(new BigUint64Array([BigInt(data.address), 65536n]).buffer));
    const control = room(24);
    const header = room(56);
    header.view.writeBigUInt64LE(BigInt(iov), 16);
    header.view.writeBigUInt64LE(1n, 24);
    header.view.writeBigUInt64LE(BigInt(control.address), 32);
    header.view.writeBigUInt64LE(24n, 40);
    const n = sys("recvmsg", path, connection, header.address, 0);
    listeners.add(control.view.readInt32LE(16));
    // One message, and the end.
    const after = sys("read", path, connection, control.address, 1);
    console.log(`${after === 0 ? "state" : "more"} ${data.view.toString("utf8", 0, n)}`);
  });
  sys("close", "", connection);
}

function answer(listener: number): void {
  scratch(() => {
    const notification = room(80);
    // ENOENT: the caller was killed meanwhile.
    if (trySys("ioctl", listener, SECCOMP_IOCTL_NOTIF_RECV, notification.address) < 0) return;
    const rule = refuse.get(notification.view.readInt32LE(16));
    const response = room(24);
    response.view.writeBigUInt64LE(notification.view.readBigUInt64LE(0), 0);
    if (rule) {
      console.log(`refused ${rule.name}`);
      response.view.writeInt32LE(-rule.errno, 16);
    } else response.view.writeUInt32LE(SECCOMP_USER_NOTIF_FLAG_CONTINUE, 20);
    trySys("ioctl", listener, SECCOMP_IOCTL_NOTIF_SEND, response.address);
  });
}
