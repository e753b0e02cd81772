import { posix } from "node:path";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { makedev } from "../linux/file.ts";
import type { Device } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";

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

/** Default devices, those of the config over them, by path. */
export function planDevices(devices: readonly Device[]): Device[] {
  const all = new Map<string, Device>();
  for (const device of [...DEFAULT_DEVICES, ...devices]) {
    const path = posix.resolve("/", device.path);
    if (!(device.type in TYPE)) throw invalid(`device ${path}: unknown type ${JSON.stringify(device.type)}`);
    if (path === "/") throw invalid(`linux.devices: ${JSON.stringify(device.path)} names no file`);
    if (device.type !== "p" && (device.major === undefined || device.minor === undefined)) {
      throw invalid(`device ${path}: a ${device.type} device needs major and minor`);
    }
    all.set(path, { ...device, path });
  }
  return [...all.values()];
}

/** In a user namespace mknod(2) is not allowed: the host's own nodes, opened beforehand, are bound instead. */
export function openHostDevices(p: Builder, devices: readonly Device[]): Map<Device, number> {
  const numbers = new Map<Device, number>();
  for (const device of devices) {
    const number = takeNumber(p);
    const why = `linux.devices ${device.path} in a user namespace`;
    const tree = p.copyMount(why, k.AT_FDCWD, device.path, 0);
    p.setAttributes(why, tree, { propagation: k.MS_PRIVATE });
    p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
    numbers.set(device, number);
  }
  return numbers;
}

/** /dev's nodes and links. The umask is 0 here. */
export function makeDevices(p: Builder, devices: readonly Device[], bound: Map<Device, number> | undefined): void {
  const dev = p.slot("dev");
  p.makeDirectory("linux.devices", "/dev");
  p.call(
    "linux.devices",
    "openat2",
    [p.root!, p.text("/dev"), p.how(k.O_PATH | k.O_DIRECTORY, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS), 24],
    { into: dev },
  );
  for (const device of devices) {
    const why = `linux.devices ${device.path}`;
    const { dir, base } = posix.parse(device.path);
    const number = bound?.get(device);
    if (number !== undefined) {
      p.makeFile(why, device.path);
      attachNumber(p, why, number, p.inRoot(why, device.path));
      continue;
    }
    if (dir !== "/dev") p.makeDirectory(why, dir);
    const directory = dir === "/dev" ? dev : p.inRoot(why, dir, k.O_PATH | k.O_DIRECTORY);
    const mode = (device.fileMode ?? 0o666) & 0o7777;
    // The root may have its own node of that name (a bundle without a tmpfs on /dev).
    const node = [directory, p.text(base), TYPE[device.type]! | mode, makedev(device.major ?? 0, device.minor ?? 0)];
    p.call(why, "mknodat", node, { ignore: ["EEXIST"] });
    if (device.uid || device.gid) {
      p.call(why, "fchownat", [directory, p.text(base), device.uid ?? 0, device.gid ?? 0, k.AT_SYMLINK_NOFOLLOW]);
    }
  }
  for (const [name, target] of LINKS) {
    p.call("/dev links", "symlinkat", [p.text(target), dev, p.text(name)], { ignore: ["EEXIST", "EROFS"] });
  }
}
