import { readFileSync } from "node:fs";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { closeOnExec, socketDomain } from "../linux/peer.ts";
import { readTlsFiles, type TlsFiles } from "./tls.ts";

/** Where the engine listens. */
export type Address =
  /** `gid`: who may connect beside the owner. */
  | { kind: "unix"; path: string; gid?: number | undefined }
  | { kind: "tcp"; host: string; port: number; tls: ReturnType<typeof readTlsFiles> }
  /** A listening unix socket that systemd has opened for us. */
  | { kind: "fd"; fd: number };

/** The group whose members may use the engine's socket, if there is one and no other is named. */
const OWN_GROUP = "inro";
const LONGEST_PATH = 107;
const DEFAULT_PORT = 2376;

/**
 * Reads the engine's addresses: unix://PATH, tcp://HOST:PORT and fd://. Without certificates there is no TCP, not on
 * 127.0.0.1 either: every local user and every page in a browser there could be root.
 */
export function parseAddresses(
  hosts: readonly string[],
  options: { gid?: number | undefined; tls?: TlsFiles | undefined },
  env: Record<string, string | undefined> = process.env,
): Address[] {
  return hosts.flatMap((host): Address[] => {
    if (/^fd:\/\/\*?$/.test(host)) return activated(env);
    if (host.startsWith("unix://") || host.startsWith("/")) {
      const path = socketPath(host.replace(/^unix:\/\//, ""));
      return [{ kind: "unix", path, gid: options.gid }];
    }
    const tcp = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^:/[\]]*)(?::(\d{1,5}))?\/?$/.exec(host);
    const port = Number(tcp?.[2] ?? DEFAULT_PORT);
    if (!tcp || port > 65535) {
      throw invalid(`serve --host ${host}: use unix:///PATH, tcp://HOST:PORT with certificates, or fd://`);
    }
    if (!options.tls) {
      throw invalid(
        `serve --host ${host}: TCP is served with client certificates only (--tlscacert, --tlscert, --tlskey): without them it would give the machine away, on 127.0.0.1 too`,
      );
    }
    const name = tcp[1]!.replace(/^\[|\]$/g, "") || "127.0.0.1";
    return [{ kind: "tcp", host: name, port, tls: readTlsFiles(options.tls) }];
  });
}

/** Checks the absolute path of a socket to be made. */
export function socketPath(path: string): string {
  if (!path.startsWith("/")) throw invalid(`serve: the socket's path ${path} must be absolute`);
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    throw invalid(`serve: ${path}: a socket's path has at most ${LONGEST_PATH} bytes`);
  }
  return path;
}

const FIRST_FD = 3;

/** The sockets of LISTEN_FDS (sd_listen_fds(3)). Children must not take them for theirs. */
function activated(env: Record<string, string | undefined>): Address[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count = "" } = env;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  if (!/^[1-9]\d{0,2}$/.test(count) || pid !== String(process.pid)) {
    throw invalid("serve --host fd://: no socket was passed on (LISTEN_FDS, LISTEN_PID): is there a .socket unit?");
  }
  return Array.from({ length: Number(count) }, (_, i) => {
    const fd = FIRST_FD + i;
    if (socketDomain(fd) !== k.AF_UNIX) {
      throw invalid(`serve --host fd://: descriptor ${fd} is no unix socket: use tcp://HOST:PORT with certificates`);
    }
    closeOnExec(fd);
    return { kind: "fd", fd };
  });
}

/**
 * The id of a group of this machine, a name or a number; without a name that of the group `inro`, if there is one.
 * Never docker's: who may use docker has not been told that there is another engine.
 */
export function socketGroup(name: string | undefined, file = "/etc/group"): number | undefined {
  if (name !== undefined && /^\d{1,10}$/.test(name)) return Number(name);
  const line = readFileSync(file, "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name ?? OWN_GROUP}:`));
  const gid = Number(line?.split(":")[2] || Number.NaN);
  if (Number.isInteger(gid)) return gid;
  if (name === undefined) return undefined;
  throw invalid(`serve --group ${name}: there is no such group on this machine: groupadd ${name}`);
}
