import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Slot } from "../program/ir.ts";
import type { NamespaceType, Spec } from "../spec/oci-runtime.ts";
import { type Builder, FD } from "./builder.ts";

export const NAMESPACE_FLAG: Record<NamespaceType, number> = {
  user: k.CLONE_NEWUSER,
  pid: k.CLONE_NEWPID,
  network: k.CLONE_NEWNET,
  ipc: k.CLONE_NEWIPC,
  uts: k.CLONE_NEWUTS,
  time: k.CLONE_NEWTIME,
  cgroup: k.CLONE_NEWCGROUP,
  mount: k.CLONE_NEWNS,
};

/** Names in /proc/PID/ns (namespaces(7)). */
export const NAMESPACE_FILE: Record<NamespaceType, string> = {
  user: "user",
  pid: "pid",
  network: "net",
  ipc: "ipc",
  uts: "uts",
  time: "time",
  cgroup: "cgroup",
  mount: "mnt",
};

export interface Namespaces {
  /** To make with clone3(2). */
  clone: number;
  /** The child makes it after it is in its cgroup, which becomes the root that it sees. */
  newCgroup: boolean;
  has(type: NamespaceType): boolean;
  /** Of its own, not joined. */
  own(type: NamespaceType): boolean;
  paths: Map<NamespaceType, string>;
}

export function planNamespaces(spec: Spec): Namespaces {
  const types = new Set<NamespaceType>();
  const paths = new Map<NamespaceType, string>();
  let clone = 0;
  for (const { type, path } of spec.linux?.namespaces ?? []) {
    if (!(type in NAMESPACE_FLAG)) throw invalid(`linux.namespaces: unknown type ${JSON.stringify(type)}`);
    if (types.has(type)) throw invalid(`linux.namespaces: ${type} twice`);
    types.add(type);
    if (path) {
      if (!path.startsWith("/")) throw invalid(`linux.namespaces: the path of ${type} must be absolute: ${path}`);
      paths.set(type, path);
    } else if (type !== "cgroup" && type !== "user") clone |= NAMESPACE_FLAG[type];
  }
  // The set-up has mounts of its own in any case: see enterOtherMounts (rootfs.ts).
  clone |= k.CLONE_NEWNS;
  if (!types.has("mount")) paths.set("mount", "/proc/self/ns/mnt");
  const own = (type: NamespaceType) => types.has(type) && !paths.has(type);
  return { clone, newCgroup: own("cgroup"), has: (type) => types.has(type), own, paths };
}

/** Whether the container's mount namespace is the runtime's or one joined by path (rootfs.ts, enterOtherMounts). */
export function hasOtherMounts(spec: Spec): boolean {
  return !spec.linux?.namespaces?.some((n) => n.type === "mount" && !n.path);
}

/**
 * Joined ones are opened on the host, all before any is entered: a path means what it meant to the caller. `given` are
 * descriptors of the spawned process that the caller has opened himself.
 */
export function openJoined(
  p: Builder,
  namespaces: Namespaces,
  given: ReadonlyMap<NamespaceType, number> = new Map(),
): Map<NamespaceType, Slot> {
  const opened = new Map<NamespaceType, Slot>();
  for (const [type, path] of namespaces.paths) {
    const why = `linux.namespaces ${type}`;
    const number = given.get(type);
    if (number !== undefined) {
      opened.set(type, p.result(why, `${type} namespace`, "fcntl", [number, k.F_DUPFD_CLOEXEC, FD.free]));
      continue;
    }
    opened.set(
      type,
      p.result(why, `${type} namespace`, "openat", [
        k.AT_FDCWD,
        p.text(path),
        // A FIFO would wait for its writer; setns(2) refuses it.
        k.O_RDONLY | k.O_NONBLOCK | k.O_CLOEXEC,
        0,
      ]),
    );
  }
  return opened;
}

/**
 * Enters those that were opened, but for the mount namespace. The user namespace comes last: our rights reach those that
 * it owns as well as the host's, its own rights only the former.
 */
export function enterJoined(p: Builder, opened: ReadonlyMap<NamespaceType, Slot>): void {
  const last = [...opened].filter(([type]) => type === "user");
  for (const [type, slot] of [...opened].filter(([type]) => type !== "user" && type !== "mount").concat(last)) {
    p.call(`linux.namespaces ${type}`, "setns", [slot, NAMESPACE_FLAG[type]]);
  }
}

/** struct clone_args (clone3(2)), with room for the cgroup's descriptor at its end. */
export const CLONE_ARGS_SIZE = 88;
export const CLONE_ARGS_CGROUP = 80;
const SIGCHLD = 17n;

export function cloneArgs(flags: number, intoCgroup: boolean): Uint8Array {
  const args = new BigUint64Array(CLONE_ARGS_SIZE / 8);
  args[0] = BigInt(flags) + (intoCgroup ? BigInt(k.CLONE_INTO_CGROUP) : 0n);
  args[4] = SIGCHLD;
  return new Uint8Array(args.buffer);
}

/** A new time namespace with offsets is made by unshare(2), since they are written before anybody is in it. */
export function timeOffsets(p: Builder, spec: Spec): void {
  const offsets = Object.entries(spec.linux?.timeOffsets ?? {});
  if (offsets.length === 0) return;
  const lines = offsets.map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`).join("");
  p.call("linux.timeOffsets", "unshare", [k.CLONE_NEWTIME]);
  p.writeFile("linux.timeOffsets", k.AT_FDCWD, "/proc/self/timens_offsets", lines);
}

/** What clone3(2) makes of `flags`: not the time namespace that {@link timeOffsets} made. */
export function cloneFlags(spec: Spec, flags: number): number {
  return Object.keys(spec.linux?.timeOffsets ?? {}).length > 0 ? flags & ~k.CLONE_NEWTIME : flags;
}

/** In a new network namespace. */
export function loopbackUp(p: Builder): void {
  const why = "linux.namespaces network: lo up";
  const socket = p.temporary("socket");
  p.call(why, "socket", [k.AF_INET, k.SOCK_DGRAM | k.SOCK_CLOEXEC, 0], { into: socket });
  const request = Buffer.alloc(40);
  request.write("lo");
  request.writeUInt16LE(0x41 /* IFF_UP | IFF_RUNNING */, 16);
  p.call(why, "ioctl", [socket, k.SIOCSIFFLAGS, p.bytes(request, "lo: IFF_UP|IFF_RUNNING")]);
}
