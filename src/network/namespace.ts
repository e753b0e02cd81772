import { openSync } from "node:fs";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close } from "../linux/file.ts";
import { IFF_UP } from "../linux/netlink/route.ts";
import { linkMessage, NetworkStack } from "./host.ts";

/** A network namespace, and a way to what is in it. */
export interface NetworkNamespace {
  /** CLOEXEC. The namespace lives for as long as this is open, or anybody is in it. */
  fd: number;
  stack: NetworkStack;
  close(): void;
}

/**
 * A new one, its loopback up. Made by the main thread in one piece: nothing of this process runs in it, and unlike with
 * other namespaces nothing of it stays behind.
 */
export function createNetworkNamespace(): NetworkNamespace {
  const own = openSync("/proc/thread-self/ns/net", "r");
  try {
    sys("unshare", "network namespace", k.CLONE_NEWNET);
    try {
      return opened(openSync("/proc/thread-self/ns/net", "r"), () => new NetworkStack());
    } finally {
      sys("setns", "our own network namespace", own, k.CLONE_NEWNET);
    }
  } finally {
    close(own);
  }
}

/** Of one that was made elsewhere; `fd` becomes its own. Its loopback is set up. */
export function adoptNetworkNamespace(fd: number): NetworkNamespace {
  return opened(fd, () => new NetworkStack(fd));
}

const LOOPBACK = 1;

function opened(fd: number, open: () => NetworkStack): NetworkNamespace {
  let stack: NetworkStack | undefined;
  try {
    stack = open();
    stack.socket.request(linkMessage("lo", { index: LOOPBACK, flags: IFF_UP, change: IFF_UP }));
  } catch (error) {
    stack?.close();
    close(fd);
    throw error;
  }
  const made = stack;
  return {
    fd,
    stack: made,
    close() {
      made.close();
      close(fd);
    },
  };
}
