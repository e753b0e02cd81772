import { existsSync, statSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Slot } from "../program/ir.ts";
import type { Mount } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { type MountOptions, parseMountOptions } from "./mount-options.ts";
import { READ_ONLY } from "./rootfs.ts";
import { resolveInTree, type Tree } from "./tree.ts";

/** Sources that were opened on the host keep these numbers until they are attached in the container. */
const FIRST_SOURCE = 400;

/** A mount of the config, ready to become rows. */
export interface PlannedMount {
  why: string;
  destination: string;
  options: MountOptions;
  kind: "bind" | "cgroup" | "filesystem";
  type: string;
  source: string | undefined;
  /** Descriptor number of a bind's source. */
  number: number;
  sourceIsDirectory: boolean;
}

/** /proc holds nothing that may be covered but for these (runc's list; lxcfs needs them). CVE-2019-16884. */
const PROC_MAY_COVER = new Set(
  ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid"].map(
    (name) => `/proc/${name}`,
  ),
);

/** `layers` are the root's, top first: a destination that is a symlink there means where that leads, in the root. */
export function planMounts(
  mounts: readonly Mount[],
  label: string | undefined,
  layers: readonly string[],
): PlannedMount[] {
  const before: Tree["binds"][number][] = [];
  return mounts.map((mount, i) => {
    const options = parseMountOptions(mount);
    const type = mount.type ?? "";
    const destination = destinationOf(mount, options.bind || type === "tmpfs", { layers, binds: before });
    if (options.bind && mount.source) before.push({ destination, source: mount.source });
    const why = `mounts[${i}] ${destination}`;
    if (destination === "/") throw invalid(`mount ${mount.source ?? type} on /: the root comes from root.path`);
    if (destination.startsWith("/proc/") && !PROC_MAY_COVER.has(destination)) {
      throw invalid(`mount ${mount.source ?? type} on ${destination}: nothing may be mounted inside /proc`);
    }
    if (destination === "/proc" && type !== "proc" && !options.bind) {
      throw invalid(`mount ${type} on /proc: only proc may be mounted there`);
    }
    const kind = options.bind ? "bind" : type === "cgroup" || type === "cgroup2" ? "cgroup" : "filesystem";
    let sourceIsDirectory = true;
    if (kind === "bind") {
      if (options.data.length > 0) {
        throw invalid(`mount ${mount.source} on ${destination}: a bind mount takes no option ${options.data[0]![0]}`);
      }
      if (!mount.source?.startsWith("/")) throw invalid(`bind mount on ${destination}: the source must be absolute`);
      try {
        sourceIsDirectory = statSync(mount.source).isDirectory();
      } catch (error) {
        if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw error;
        throw invalid(`bind source path does not exist: ${mount.source}`);
      }
    } else if (kind === "filesystem") {
      if (!type) throw invalid(`mount on ${destination}: no type, and not a bind mount`);
      if (label && !["proc", "sysfs", "mqueue"].includes(type)) options.data.push(["context", label]);
    }
    return { why, destination, options, kind, type, source: mount.source, number: 0, sourceIsDirectory };
  });
}

/** Checked after it is resolved: otherwise an image's symlink would lead into /proc (CVE-2019-16884). */
function destinationOf(mount: Mount, mayBeLink: boolean, tree: Tree): string {
  const destination = posix.resolve("/", mount.destination);
  // /dev is not the image's, and where kernel file systems go no symlink is followed at all.
  const own = destination === "/dev" || destination.startsWith("/dev/") || destination.startsWith("/proc/");
  if (!mayBeLink || own) return destination;
  const resolved = resolveInTree(tree, destination);
  if (resolved !== destination && ["/dev", "/proc", "/sys"].includes(resolved))
    throw invalid(`mount on ${destination}: the image has a symlink to ${resolved} there`);
  return resolved;
}

/** On the host, before the container's namespaces exist: bind sources as detached copies, with what they ask for. */
export function openSources(p: Builder, planned: readonly PlannedMount[], userns: Slot | undefined): void {
  for (const mount of planned) {
    if (mount.kind !== "bind") continue;
    mount.number = takeNumber(p);
    const { why, options, number } = mount;
    const tree = p.copyMount(why, k.AT_FDCWD, mount.source!, options.recursive ? k.AT_RECURSIVE : 0);
    p.setAttributes(why, tree, { propagation: k.MS_PRIVATE, recursive: true });
    if (options.propagation && options.propagation !== k.MS_PRIVATE) {
      // A copy is a peer of its source until it is told otherwise, so shared and slave start from a fresh copy.
      p.call(why, "close", [tree]);
      p.call(
        why,
        "open_tree",
        [
          k.AT_FDCWD,
          p.text(mount.source!),
          k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | (options.recursive ? k.AT_RECURSIVE : 0),
        ],
        { into: tree },
      );
      const { propagation, propagationRecursive: recursive } = options;
      p.setAttributes(why, tree, { propagation, recursive });
    }
    if (options.set || options.clear) p.setAttributes(why, tree, { set: options.set, clear: options.clear });
    if (options.recursiveSet || options.recursiveClear) {
      p.setAttributes(why, tree, { set: options.recursiveSet, clear: options.recursiveClear, recursive: true });
    }
    if (userns && options.idmap !== "no") {
      p.setAttributes(why, tree, { userns, recursive: options.idmap === "recursive" });
    }
    p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
    // Else some hundred of them would reach the numbers from FIRST_SOURCE on.
    p.call(why, "close", [tree]);
  }
}

const numbers = new WeakMap<Builder, number>();
/** A descriptor number that stays the same from here to the container. */
export function takeNumber(p: Builder): number {
  const next = numbers.get(p) ?? FIRST_SOURCE;
  numbers.set(p, next + 1);
  return next;
}

/** The container's own cgroup directories, opened on the host: name below the mount ("" on v2) and descriptor number. */
export type CgroupMounts = { name: string; number: number }[];

export function openCgroups(p: Builder, directories: readonly { name: string; path: string }[]): CgroupMounts {
  return directories.map(({ name, path }) => {
    const number = takeNumber(p);
    const why = "mounts: cgroup";
    const tree = p.copyMount(why, k.AT_FDCWD, path, 0);
    p.setAttributes(why, tree, { propagation: k.MS_PRIVATE });
    p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
    return { name, number };
  });
}

/** In the container: every mount in the order of the config. Returns proc's own descriptor, for what is written there. */
export function attachMounts(p: Builder, planned: readonly PlannedMount[], cgroups: CgroupMounts): Slot | undefined {
  let proc: Slot | undefined;
  for (const mount of planned) {
    const { why, destination, options } = mount;
    const attributes = options.set | options.recursiveSet;
    if (mount.kind === "bind") {
      if (mount.sourceIsDirectory) p.makeDirectory(why, destination);
      else p.makeFile(why, destination);
      const place = p.inRoot(why, destination);
      attachNumber(p, why, mount.number, place);
      continue;
    }
    p.makeDirectory(why, destination);
    if (mount.kind === "cgroup") {
      mountCgroups(p, why, destination, attributes, cgroups);
      continue;
    }
    // /dev is filled first and made read-only at the end.
    const late = destination === "/dev" ? attributes & ~k.MOUNT_ATTR_RDONLY : attributes;
    const data = [...options.flags.map((flag) => [flag, undefined] as const), ...options.data];
    const made = p.newMount(why, mount.type, mount.source ?? mount.type, data, late);
    const place = strictPlace(p, why, mount.type, destination);
    p.attach(why, made, place);
    if (options.propagation) p.setAttributes(why, made, { propagation: options.propagation });
    if (mount.type === "proc" && destination === "/proc") {
      proc = p.slot("proc");
      p.call(why, "dup3", [made, PROC_NUMBER, k.O_CLOEXEC], { into: proc });
    }
  }
  return proc;
}

const PROC_NUMBER = 299;

/** A kernel file system on a symlink would let an image choose where /proc is (CVE-2021-30465 and after). */
function strictPlace(p: Builder, why: string, type: string, destination: string): Slot {
  if (type !== "proc" && type !== "sysfs") return p.inRoot(why, destination, k.O_PATH | k.O_DIRECTORY);
  const place = p.temporary(destination);
  const how = p.how(k.O_PATH | k.O_DIRECTORY, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS);
  p.call(why, "openat2", [p.root!, p.text(destination), how, 24], { into: place });
  return place;
}

export function attachNumber(p: Builder, why: string, number: number, place: Slot): void {
  p.call(why, "move_mount", [
    number,
    p.text(""),
    place,
    p.text(""),
    k.MOVE_MOUNT_F_EMPTY_PATH | k.MOVE_MOUNT_T_EMPTY_PATH,
  ]);
}

/** v2: the container's directory itself. Else a tmpfs with one directory for each hierarchy that it is in. */
function mountCgroups(p: Builder, why: string, destination: string, attributes: number, cgroups: CgroupMounts): void {
  const only = cgroups[0];
  if (!only) return;
  if (cgroups.length === 1 && only.name === "") {
    p.setAttributes(why, only.number, { set: attributes });
    attachNumber(p, why, only.number, p.inRoot(why, destination, k.O_PATH | k.O_DIRECTORY));
    return;
  }
  const tmpfs = p.newMount(why, "tmpfs", "tmpfs", [["mode", "755"]], attributes & ~k.MOUNT_ATTR_RDONLY);
  p.attach(why, tmpfs, p.inRoot(why, destination, k.O_PATH | k.O_DIRECTORY));
  for (const { name, number } of cgroups) {
    p.call(why, "mkdirat", [tmpfs, p.text(name), 0o755]);
    p.setAttributes(why, number, { set: attributes });
    attachNumber(p, why, number, p.inRoot(why, posix.join(destination, name), k.O_PATH | k.O_DIRECTORY));
  }
  if (attributes & k.MOUNT_ATTR_RDONLY) p.setAttributes(why, tmpfs, { set: k.MOUNT_ATTR_RDONLY });
}

/** What a path of proc or sysfs is on this kernel; undefined for any other, whose kind only the rows can find out. */
export type Kind = "directory" | "file" | "missing" | undefined;

/**
 * proc and sysfs are the same in every container, but for processes, so it is enough to look at the host's. One that was
 * mounted with subset=pid shows too little to tell.
 */
export function kernelPath(path: string): Kind {
  const known = kinds.get(path);
  if (known) return known;
  if (!/^\/(proc|sys)\//.test(path) || !existsSync("/proc/sys")) return undefined;
  const kind = kindOf(path);
  // What is missing may come with a module.
  if (kind !== "missing") kinds.set(path, kind);
  return kind;
}

const kinds = new Map<string, Kind>();

function kindOf(path: string): Kind {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "missing" : stat.isDirectory() ? "directory" : "file";
}

/** `linux.readonlyPaths`: each a copy of itself that cannot be written; one that is missing is skipped. */
export function readonlyPaths(p: Builder, paths: readonly string[]): void {
  for (const path of paths) {
    const why = `linux.readonlyPaths ${path}`;
    if (kernelPath(path) === "missing") continue;
    const skip = p.label(`no ${path}`);
    const place = p.inRoot(why, path, k.O_PATH, { ignore: ["ENOENT", "ENOTDIR"] });
    p.branch(why, place, "at most", -1, skip);
    const copy = p.copyMount(why, place, "", k.AT_RECURSIVE);
    p.setAttributes(why, copy, { set: READ_ONLY, recursive: true });
    p.attach(why, copy, place);
    p.place(skip);
  }
}

/** `linux.maskedPaths`: /dev/null over a file, an empty read-only tmpfs over a directory. */
export function maskedPaths(p: Builder, paths: readonly string[]): void {
  if (paths.length === 0) return;
  const null_ = p.slot("null");
  // The host's, which is still in sight: the container's own may be anything by now (CVE-2025-31133).
  const device = [k.AT_FDCWD, p.text("/dev/null"), k.O_PATH | k.O_NOFOLLOW | k.O_CLOEXEC, 0];
  p.call("linux.maskedPaths", "openat", device, { into: null_ });
  for (const path of paths) {
    const why = `linux.maskedPaths ${path}`;
    const kind = kernelPath(path);
    if (kind === "missing") continue;
    const done = p.label(`${path} done`);
    const place = p.inRoot(why, path, k.O_PATH, { ignore: ["ENOENT", "ENOTDIR"] });
    p.branch(why, place, "at most", -1, done);
    if (kind !== "directory") {
      const copy = p.copyMount(why, null_, "", 0);
      const attached = p.temporary("masked");
      // move_mount(2) answers EINVAL where one is a directory and the other a file.
      p.attach(why, copy, place, kind === "file" ? { into: attached } : { ignore: ["EINVAL"], into: attached });
      if (kind === undefined) p.branch(why, attached, "equal", 0, done);
    }
    if (kind !== "file") {
      const limits = [
        ["nr_blocks", "1"],
        ["nr_inodes", "1"],
      ] as const;
      p.attach(why, p.newMount(why, "tmpfs", "tmpfs", limits, READ_ONLY), place);
    }
    p.place(done);
  }
}
