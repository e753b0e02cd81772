import * as k from "../linux/constants.ts";
import { windowSize } from "../linux/process.ts";
import { Data, Offset, type Operand, type Slot } from "../program/ir.ts";
import type { Process } from "../spec/oci-runtime.ts";
import { type Builder, FD } from "./builder.ts";

/** One descriptor over a socket: struct msghdr with one byte of data and SCM_RIGHTS (unix(7), cmsg(3)). */
class Message {
  readonly header: Data;
  readonly control: Data;

  constructor(p: Builder) {
    const byte = p.room(8, "one byte");
    const iov = new Uint8Array(16);
    new DataView(iov.buffer).setBigUint64(8, 1n, true);
    const vector = new Data(iov, "iovec", [[0, byte]]);
    const control = new Uint8Array(24);
    const view = new DataView(control.buffer);
    view.setBigUint64(0, 20n, true);
    view.setInt32(8, k.SOL_SOCKET, true);
    view.setInt32(12, k.SCM_RIGHTS, true);
    this.control = new Data(control, "SCM_RIGHTS");
    const header = new Uint8Array(56);
    const h = new DataView(header.buffer);
    h.setBigUint64(24, 1n, true);
    h.setBigUint64(40, 24n, true);
    this.header = new Data(header, "msghdr", [
      [16, vector],
      [32, this.control],
    ]);
  }
}

/** Sends the descriptor in `fd` through the socket `socket`. */
export function sendDescriptor(p: Builder, why: string, socket: Operand, fd: Slot): void {
  const message = new Message(p);
  p.store(why, fd, new Offset(message.control, 16));
  p.call(why, "sendmsg", [socket, message.header, 0], { expect: 1 });
}

/** Takes a descriptor from the socket; it gets the lowest free number of this process. */
export function receiveDescriptor(p: Builder, why: string, socket: Operand): void {
  const message = new Message(p);
  p.call(why, "recvmsg", [socket, message.header, 0x4000_0000 /* MSG_CMSG_CLOEXEC */], { expect: 1 });
}

/**
 * A pty of the container's own devpts: slave on 0, 1 and 2 and as the controlling terminal, master through the console
 * socket. `ptmx` is opened by the caller in a devpts that it trusts.
 */
export function makeTerminal(
  p: Builder,
  ptmx: Slot,
  socket: Operand,
  size: { height: number; width: number } | undefined,
  owner: number,
): Slot {
  const why = "process.terminal";
  p.call(why, "ioctl", [ptmx, k.TIOCSPTLCK, p.bytes(new Uint8Array(8), "0")]);
  if (size) p.call(why, "ioctl", [ptmx, k.TIOCSWINSZ, p.bytes(windowSize(size.height, size.width), "winsize")]);
  const slave = p.slot("pty slave");
  // By descriptor, so that no path of the container decides which terminal this is.
  p.call(why, "ioctl", [ptmx, k.TIOCGPTPEER, k.O_RDWR | k.O_NOCTTY | k.O_CLOEXEC], { into: slave });
  if (owner !== 0) p.call(why, "fchown", [slave, owner, -1]);
  sendDescriptor(p, why, socket, ptmx);
  return slave;
}

/** The slave becomes stdio and the controlling terminal of the (new) session. */
export function useTerminal(p: Builder, slave: Slot): void {
  terminalAsStdio(p, slave);
  controlTerminal(p);
}

export function terminalAsStdio(p: Builder, slave: Slot): void {
  for (const fd of [0, 1, 2]) p.call("process.terminal", "dup3", [slave, fd, 0]);
}

/** In the leader of the session. */
export function controlTerminal(p: Builder): void {
  p.call("process.terminal", "ioctl", [0, k.TIOCSCTTY, 0]);
}

/** The pty comes from the container's own devpts, and shows as /dev/console too. */
export function containerTerminal(p: Builder, process: Process, nonblock: number): Slot {
  const why = "process.terminal";
  const ptmx = p.slot("pty master");
  p.call(
    why,
    "openat2",
    [
      p.root!,
      p.text("/dev/pts/ptmx"),
      p.how(k.O_RDWR | k.O_NOCTTY | nonblock, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS),
      24,
    ],
    { into: ptmx },
  );
  const slave = makeTerminal(p, ptmx, FD.consoleFar, process.consoleSize, process.user.uid);
  // CVE-2025-52565: the slave itself, by descriptor, lands on /dev/console, and not where a symlink there leads.
  p.makeFile(why, "/dev/console", { strict: true });
  p.attach(why, p.copyMount(why, slave, "", 0), p.mountPoint(why, "/dev/console"));
  return slave;
}
