import { unavailable } from "../../base/errors.ts";
import { receiveDescriptor, sendDatagram } from "../../linux/unix-socket.ts";
import type { IpFamily } from "../address.ts";
import { ASKS } from "./opener.ts";

/** `FD:PID`, of the connection to the opener and of the opener itself. */
export const OPENER = "INRO_ROOTLESS_OPENER";

/** The machine's network, for an engine that has left it; undefined for one that is in it. */
export function outside(): { fd: number; pid: number } | undefined {
  const [, fd, pid] = /^(\d+):(\d+)$/.exec(process.env[OPENER] ?? "") ?? [];
  return fd === undefined ? undefined : { fd: Number(fd), pid: Number(pid) };
}

/** A new socket of the machine's network namespace. CLOEXEC; the caller closes it. */
export function outsideSocket(opener: number, family: IpFamily, type: number): number {
  const ask = ASKS.find((one) => one.family === family && one.type === type);
  if (!ask) throw unavailable("rootless: only ports of tcp and udp can be published");
  sendDatagram(opener, new Uint8Array(ask.size));
  return receiveDescriptor(opener);
}
