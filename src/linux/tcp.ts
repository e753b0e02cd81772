import { isIPv4, isIPv6 } from "node:net";
import { SysError } from "../base/errors.ts";
import { sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { bytes, room, scratch } from "./ffi.ts";
import { close } from "./file.ts";
import { poll } from "./poll.ts";

const AF_INET6 = 10;
const SOCK_NONBLOCK = k.O_NONBLOCK;
const SO_ERROR = 4;
const POLLOUT = 4;
const EINPROGRESS = 115;

/** An address literal, IPv4 or IPv6 without brackets or zone, and a port. */
export interface TcpAddress {
  ip: string;
  port: number;
}

/**
 * Begins a TCP connection in the network namespace that this thread is in, without waiting for it. The caller closes the
 * descriptor, which is CLOEXEC and non-blocking; {@link connected} says how it fares. An errno is a SysError.
 */
export function beginConnect(address: TcpAddress): number {
  const name = nameOf(address);
  const target = sockaddr(address);
  const family = target.readUInt16LE(0);
  const fd = sys("socket", name, family, k.SOCK_STREAM | k.SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const result = scratch(() => trySys("connect", fd, bytes(target), target.length));
  if (result === 0 || result === -EINPROGRESS) return fd;
  close(fd);
  throw new SysError("connect", name, -result);
}

/** Whether it is connected by now; a connection that failed is a SysError. */
export function connected(fd: number, address: TcpAddress): boolean {
  const [events] = poll([[fd, POLLOUT]], 0);
  if (!events) return false;
  const errno = scratch(() => {
    const value = room(8);
    const length = room(8);
    length.view.writeInt32LE(4);
    sys("getsockopt", nameOf(address), fd, k.SOL_SOCKET, SO_ERROR, value.address, length.address);
    return value.view.readInt32LE(0);
  });
  if (errno !== 0) throw new SysError("connect", nameOf(address), errno);
  return scratch(() => {
    const name = room(128);
    const length = room(8);
    length.view.writeInt32LE(128);
    const result = trySys("getpeername", fd, name.address, length.address);
    if (result < 0) throw new SysError("connect", nameOf(address), -result);
    return true;
  });
}

/** As in `127.0.0.1:80` and `[::1]:80`. */
export const nameOf = ({ ip, port }: TcpAddress) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);

/** struct sockaddr_in, sockaddr_in6 (ip(7), ipv6(7)). */
function sockaddr({ ip, port }: TcpAddress): Buffer {
  if (isIPv4(ip)) {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(k.AF_INET, 0);
    address.writeUInt16BE(port, 2);
    address.set(ip.split(".").map(Number), 4);
    return address;
  }
  if (!isIPv6(ip)) throw new SysError("connect", ip, 22, "no IP address");
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  const [front = "", back] = ip.split("::").map(groups);
  const all = back === undefined ? [...front] : [...front, ...Array(8 - front.length - back.length).fill(0), ...back];
  all.forEach((group, i) => {
    address.writeUInt16BE(group as number, 8 + 2 * i);
  });
  return address;
}

/** The 16-bit groups of a part of an IPv6 address, whose end may be a dotted quad. */
function groups(part: string): number[] {
  return part.split(":").flatMap((group) => {
    if (group === "") return [];
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
