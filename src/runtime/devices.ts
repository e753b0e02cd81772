import { statSync } from "node:fs";
import { posix } from "node:path";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, makedev, statat } from "../linux/file.ts";
import type { Slot } from "../program/ir.ts";
import type { Device } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";
import { coveredBy, isFresh, type PlannedMount } from "./mount-plan.ts";
import { kernelPath } from "./restricted-paths.ts";
import { isBelow, openEntry, resolveInTree, type Tree } from "./tree.ts";

/** runtime-spec config-linux.md, "Default Devices". */
export const DEFAULT_DEVICES: readonly Device[] = (
  [
    ["null", 1, 3],
    ["zero", 1, 5],
    ["full", 1, 7],
    ["random", 1, 8],
    ["urandom", 1, 9],
    ["tty", 5, 0],
  ] as const
).map(([name, major, minor]) => ({ path: `/dev/${name}`, type: "c", major, minor, fileMode: 0o666, uid: 0, gid: 0 }));

const LINKS = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["core", "/proc/kcore"],
  ["ptmx", "pts/ptmx"],
] as const;

const TYPE: Record<string, number> = { c: k.S_IFCHR, u: k.S_IFCHR, b: k.S_IFBLK, p: k.S_IFIFO };

/** A device of a launch. */
export interface PlannedDevice extends Device {
  /** Without symlinks, but for what is its last name. */
  path: string;
  /** The image has this very device there. */
  there: boolean;
  /** The host's own node is bound. */
  bind: boolean;
}

export interface DeviceOptions {
  /** The container's files, its binds among them. */
  tree: Tree;
  mounts: readonly PlannedMount[];
  /** In a user namespace mknod(2) makes no devices. */
  bind: boolean;
  /** /dev is the container's, for us to fill; else nothing is made in it. */
  ownDev: boolean;
}

/**
 * Default devices, those of the config over them, by path. Another file where one goes is an invalid-argument error, and
 * so is a node of the host's that is not the device asked for.
 */
export function planDevices(devices: readonly Device[], options: DeviceOptions): PlannedDevice[] {
  const all = new Map<string, PlannedDevice>();
  for (const device of [...DEFAULT_DEVICES, ...devices]) {
    const asked = posix.resolve("/", device.path);
    if (!(device.type in TYPE)) throw invalid(`device ${asked}: unknown type ${JSON.stringify(device.type)}`);
    if (asked === "/") throw invalid(`linux.devices: ${JSON.stringify(device.path)} names no file`);
    if (device.type !== "p" && (device.major === undefined || device.minor === undefined)) {
      throw invalid(`device ${asked}: a ${device.type} device needs major and minor`);
    }
    if (asked === "/dev" || (!options.ownDev && isBelow(asked, "/dev"))) continue;
    const bind = options.bind && device.type !== "p";
    if (bind) checkHostDevice(device, asked);
    const { path, there } = placeOf(device, asked, bind, options);
    all.set(path, { ...device, path, there, bind });
  }
  return [...all.values()];
}

function placeOf(device: Device, asked: string, bind: boolean, { tree, mounts }: DeviceOptions) {
  const covering = coveredBy(asked, mounts);
  // An entry of mounts has put something there already.
  if (covering?.destination === asked) return { path: asked, there: true };
  if (covering && isFresh(covering)) return { path: asked, there: false };
  const path = posix.join(resolveInTree(tree, posix.dirname(asked)), posix.basename(asked));
  const fd = openEntry(tree, path);
  if (fd === undefined) return { path, there: false };
  try {
    const stat = statat(fd, "");
    const there = isDevice(device, stat.mode, stat.rdevMajor, stat.rdevMinor);
    // A file is what a node is bound on, and the last time it was made for that.
    const place = bind && (stat.mode & k.S_IFMT) === k.S_IFREG && stat.size === 0;
    if (!there && !place) throw invalid(`device ${asked}: there is another file of that name in the root`);
    return { path, there: there && !bind };
  } finally {
    close(fd);
  }
}

function isDevice({ type, major, minor }: Device, mode: number, itsMajor: number, itsMinor: number): boolean {
  if ((mode & k.S_IFMT) !== TYPE[type]) return false;
  return type === "p" || (itsMajor === major && itsMinor === minor);
}

function checkHostDevice(device: Device, path: string): void {
  const why = `device ${path}: in a user namespace the host's own node is bound, and the host's`;
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw invalid(`${why} is missing`);
  const major = Number(((BigInt(stat.rdev) >> 8n) & 0xfffn) | ((BigInt(stat.rdev) >> 32n) & ~0xfffn));
  const minor = Number((BigInt(stat.rdev) & 0xffn) | ((BigInt(stat.rdev) >> 12n) & ~0xffn));
  if (!isDevice(device, stat.mode, major, minor)) throw invalid(`${why} is another`);
}

/** The host's own nodes, opened beforehand. */
export function openHostDevices(p: Builder, devices: readonly PlannedDevice[]): Map<PlannedDevice, number> {
  const numbers = new Map<PlannedDevice, number>();
  for (const device of devices) {
    if (!device.bind) continue;
    const number = takeNumber(p);
    const why = `linux.devices ${device.path} in a user namespace`;
    const tree = p.copyMount(why, k.AT_FDCWD, device.path, 0);
    p.setAttributes(why, tree, { propagation: k.MS_PRIVATE });
    p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
    p.call(why, "close", [tree]);
    numbers.set(device, number);
  }
  return numbers;
}

/** Nodes, and with `dev` the links of /dev; `fresh` says that nothing of the image is in it. The umask is 0 here. */
export function makeDevices(
  p: Builder,
  devices: readonly PlannedDevice[],
  bound: ReadonlyMap<PlannedDevice, number>,
  options: { ownDev: boolean; fresh: boolean },
): void {
  let dev: Slot | undefined;
  if (options.ownDev) {
    dev = p.slot("dev");
    p.makeDirectory("linux.devices", "/dev");
    const how = p.how(k.O_PATH | k.O_DIRECTORY, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    p.call("linux.devices", "openat2", [p.root!, p.text("/dev"), how, 24], { into: dev });
  }
  for (const device of devices) {
    if (device.there) continue;
    const why = `linux.devices ${device.path}`;
    const { dir, base } = posix.parse(device.path);
    const number = bound.get(device);
    if (number !== undefined) {
      p.makeFile(why, device.path, { strict: true });
      attachNumber(p, why, number, p.mountPoint(why, device.path));
      continue;
    }
    let directory = p.root!;
    if (dir === "/dev" && dev) directory = dev;
    else if (dir !== "/") {
      p.makeDirectory(why, dir, { strict: true });
      directory = p.mountPoint(why, dir, k.O_PATH | k.O_DIRECTORY);
    }
    const mode = (device.fileMode ?? 0o666) & 0o7777;
    const node = [directory, p.text(base), TYPE[device.type]! | mode, makedev(device.major ?? 0, device.minor ?? 0)];
    p.call(why, "mknodat", node);
    if (device.uid || device.gid) {
      p.call(why, "fchownat", [directory, p.text(base), device.uid ?? 0, device.gid ?? 0, k.AT_SYMLINK_NOFOLLOW]);
    }
  }
  if (!dev) return;
  for (const [name, target] of LINKS) {
    if (name === "core" && kernelPath(target) === "missing") continue;
    // What an image has there could be the host's terminals.
    if (name === "ptmx" && !options.fresh)
      p.call("/dev links", "unlinkat", [dev, p.text(name), 0], { ignore: ["ENOENT"] });
    p.call("/dev links", "symlinkat", [p.text(target), dev, p.text(name)], { ignore: ["EEXIST", "EROFS"] });
  }
}
