import { sys } from "../call.ts";
import * as k from "../constants.ts";
import { bytes, scratch } from "../ffi.ts";
import { close } from "../file.ts";
import { decodeMessages, type Message } from "./message.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;

/** Multicast messages of the kernel about what has changed, until it is closed. */
export interface Monitor {
  close(): void;
}

/**
 * Listens to groups (a mask) of a netlink protocol in this process's network namespace. `onLost`: messages did not fit
 * into the socket's buffer, and it is closed; whoever wants to know more looks for himself, and listens anew.
 * `subscription`: messages by which the kernel is asked first, where groups do not do.
 */
export async function monitor(
  protocol: number,
  groups: number,
  onMessages: (messages: Message[]) => void,
  onLost: () => void,
  subscription?: Buffer,
): Promise<Monitor> {
  const fd = sys("socket", "AF_NETLINK", AF_NETLINK, SOCK_RAW | k.SOCK_CLOEXEC | k.O_NONBLOCK, protocol);
  try {
    scratch(() => {
      const name = Buffer.alloc(12);
      name.writeUInt16LE(AF_NETLINK, 0);
      name.writeUInt32LE(groups, 8);
      sys("bind", "AF_NETLINK", fd, bytes(name), name.length);
      if (subscription) sys("sendto", "AF_NETLINK", fd, bytes(subscription), subscription.length, 0, 0, 0);
    });
  } catch (error) {
    close(fd);
    throw error;
  }
  let closed = false;
  const lost = () => {
    if (closed) return;
    closed = true;
    onLost();
  };
  const socket = await Bun.connect({
    fd,
    socket: {
      data(_: unknown, data: Buffer) {
        if (!closed) onMessages(messagesOf(data));
      },
      error: lost,
      close: lost,
    },
  } as unknown as Bun.UnixSocketOptions<undefined>);
  return {
    close() {
      closed = true;
      socket.terminate();
    },
  };
}

/** What is cut off is as good as lost, and the next look finds it. */
function messagesOf(data: Buffer): Message[] {
  const messages: Message[] = [];
  try {
    for (const message of decodeMessages(data)) messages.push(message);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return messages;
}
