import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { codeOf, errnoName, InroError, notImplemented } from "../base/errors.ts";
import { sys, trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { bytes, room, scratch } from "../linux/ffi.ts";
import { close } from "../linux/file.ts";
import { AF, addressBytes, formatAddress, type IpAddress, type IpFamily } from "./address.ts";
import { PROTOCOLS, type Protocol } from "./firewall.ts";
import { outside, outsideSocket } from "./rootless/outside.ts";

/** Ports of the host, held by sockets, so that nobody else gets them and we do not take somebody's. */

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const EADDRINUSE = 98;
const EADDRNOTAVAIL = 99;
const EPROTONOSUPPORT = 93;
const EACCES = 13;
const BACKLOG = 4096;

/**
 * Binds a port. Nobody listens: packets are the container's, and what the firewall does not turn to it (::1) is to be
 * refused. `port` 0: any. The number and the socket, which the caller closes. A port that is taken is an error that names
 * who has it.
 */
export function holdPort(
  protocol: Protocol,
  family: IpFamily,
  address: IpAddress | undefined,
  port: number,
): { fd: number; port: number } {
  const type = (protocol === "udp" ? SOCK_DGRAM : SOCK_STREAM) | k.SOCK_CLOEXEC;
  const host = outside();
  if (host && protocol === "sctp") throw notImplemented("publish a port: rootless has no SCTP");
  const fd = host
    ? outsideSocket(host.fd, family, protocol === "udp" ? SOCK_DGRAM : SOCK_STREAM)
    : trySys("socket", AF[family], type, PROTOCOLS[protocol]);
  if (fd === -EPROTONOSUPPORT) {
    throw new InroError("unavailable", `publish a port: this kernel has no ${protocol.toUpperCase()} (CONFIG_IP_SCTP)`);
  }
  const shown = `${address ? (family === 6 ? `[${formatAddress(address)}]` : formatAddress(address)) : family === 6 ? "[::]" : "0.0.0.0"}:${port}`;
  if (fd < 0) throw new InroError("internal", `Bind for ${shown} failed: socket: ${errnoName(-fd)}`);
  try {
    return scratch(() => {
      const one = bytes(new Uint8Array([1, 0, 0, 0]));
      // Connections of a server that has ended may still be there.
      if (protocol === "tcp") sys("setsockopt", "SO_REUSEADDR", fd, SOL_SOCKET, SO_REUSEADDR, one, 4);
      if (family === 6) sys("setsockopt", "IPV6_V6ONLY", fd, IPPROTO_IPV6, IPV6_V6ONLY, one, 4);
      const name = room(28);
      name.view.writeUInt16LE(AF[family], 0);
      name.view.writeUInt16BE(port, 2);
      if (address) name.view.set(addressBytes(address), family === 4 ? 4 : 8);
      const length = family === 4 ? 16 : 28;
      const result = trySys("bind", fd, name.address, length);
      if (result < 0) throw taken(shown, protocol, port, -result);
      // From here on the port is not to be shared. One that listens is not in any case, and what it has accepted, and
      // lingers, must not keep the next one away.
      const zero = bytes(new Uint8Array(4));
      if (protocol === "tcp" && !host) sys("setsockopt", "SO_REUSEADDR", fd, SOL_SOCKET, SO_REUSEADDR, zero, 4);
      const size = room(8);
      size.view.writeUInt32LE(28, 0);
      sys("getsockname", shown, fd, name.address, size.address);
      // Connections wait until the relay takes them.
      if (host && protocol === "tcp") sys("listen", shown, fd, BACKLOG);
      return { fd, port: name.view.readUInt16BE(2) };
    });
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Lets go of one, at once and for all who have a copy. */
export function releasePort(fd: number): void {
  if (outside()) trySys("shutdown", fd, SHUT_RDWR);
  close(fd);
}
const SHUT_RDWR = 2;

/** `code`: EADDRINUSE where another port may be tried. */
export class PortError extends InroError {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super("internal", message);
  }
}

function taken(shown: string, protocol: Protocol, port: number, errno: number): PortError {
  if (errno === EADDRNOTAVAIL) {
    return new PortError(`Bind for ${shown} failed: this machine has no such address`, errnoName(errno));
  }
  if (errno === EACCES && outside()) {
    return new PortError(
      `Bind for ${shown} failed: a plain user may not take ports this low: sysctl net.ipv4.ip_unprivileged_port_start=${port} allows it to all users; or publish one from 1024 on`,
      errnoName(errno),
    );
  }
  if (errno !== EADDRINUSE) return new PortError(`Bind for ${shown} failed: ${errnoName(errno)}`, errnoName(errno));
  const who = port === 0 ? undefined : holderOf(protocol, port);
  return new PortError(
    `Bind for ${shown} failed: port is already allocated${who ? `: ${who} has it` : ""}`,
    "EADDRINUSE",
  );
}

/** The process that has the port: `nginx (pid 812)`. */
function holderOf(protocol: Protocol, port: number): string | undefined {
  const inodes = new Set<string>();
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of [protocol, `${protocol}6`]) {
    let lines: string[];
    try {
      lines = readFileSync(`/proc/${outside()?.pid ?? "self"}/net/${table}`, "latin1").split("\n");
    } catch {
      continue;
    }
    for (const line of lines) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(`:${hex}`) && (protocol === "udp" || fields[3] === LISTEN))
        inodes.add(`socket:[${fields[9]}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (!inodes.has(linkOf(`/proc/${pid}/fd/${fd}`))) continue;
        return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
      }
    } catch (error) {
      // Gone meanwhile, or not ours to look at.
      if (codeOf(error) === undefined) throw error;
    }
  }
  return undefined;
}

/** /proc/net/tcp, `st`. */
const LISTEN = "0A";

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
