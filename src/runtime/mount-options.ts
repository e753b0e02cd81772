import * as k from "../linux/constants.ts";
import type { Mount } from "../spec/oci-runtime.ts";

/** What the options of one mount come to (runtime-spec config.md, "Linux mount options"). */
export interface MountOptions {
  bind: boolean;
  recursive: boolean;
  /** MOUNT_ATTR_* of the mount itself. */
  set: number;
  clear: number;
  /** MOUNT_ATTR_* of the mount and all below it. */
  recursiveSet: number;
  recursiveClear: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE; 0 when none was asked for. */
  propagation: number;
  propagationRecursive: boolean;
  idmap: "no" | "mount" | "recursive";
  copyUp: boolean;
  /** Superblock flags as words for fsconfig(2), such as `ro` and `sync`. */
  flags: string[];
  /** Everything else belongs to the file system: key and value. */
  data: [key: string, value: string | undefined][];
}

const ATIME = k.MOUNT_ATTR__ATIME;
/** Word → attributes to set, attributes to clear. `r` before a word makes it recursive. */
const ATTRIBUTES: Record<string, readonly [set: number, clear: number]> = {
  ro: [k.MOUNT_ATTR_RDONLY, 0],
  rw: [0, k.MOUNT_ATTR_RDONLY],
  nosuid: [k.MOUNT_ATTR_NOSUID, 0],
  suid: [0, k.MOUNT_ATTR_NOSUID],
  nodev: [k.MOUNT_ATTR_NODEV, 0],
  dev: [0, k.MOUNT_ATTR_NODEV],
  noexec: [k.MOUNT_ATTR_NOEXEC, 0],
  exec: [0, k.MOUNT_ATTR_NOEXEC],
  nodiratime: [k.MOUNT_ATTR_NODIRATIME, 0],
  diratime: [0, k.MOUNT_ATTR_NODIRATIME],
  nosymfollow: [k.MOUNT_ATTR_NOSYMFOLLOW, 0],
  symfollow: [0, k.MOUNT_ATTR_NOSYMFOLLOW],
  // The kind of atime is one field of three values: setting one clears the field first.
  relatime: [k.MOUNT_ATTR_RELATIME, ATIME],
  norelatime: [0, ATIME],
  noatime: [k.MOUNT_ATTR_NOATIME, ATIME],
  atime: [0, ATIME],
  strictatime: [k.MOUNT_ATTR_STRICTATIME, ATIME],
  nostrictatime: [0, ATIME],
};

const PROPAGATION: Record<string, number> = {
  private: k.MS_PRIVATE,
  slave: k.MS_SLAVE,
  shared: k.MS_SHARED,
  unbindable: k.MS_UNBINDABLE,
};

/** Of the superblock; the opposite is the default of a new one. */
const SUPERBLOCK: Record<string, string | undefined> = {
  sync: "sync",
  async: undefined,
  dirsync: "dirsync",
  lazytime: "lazytime",
  nolazytime: undefined,
  mand: "mand",
  nomand: undefined,
  iversion: undefined,
  noiversion: undefined,
  silent: undefined,
  loud: undefined,
  defaults: undefined,
  remount: undefined,
};

export function parseMountOptions(mount: Mount): MountOptions {
  const result: MountOptions = {
    bind: mount.type === "bind" || mount.type === "rbind",
    recursive: mount.type === "rbind",
    set: 0,
    clear: 0,
    recursiveSet: 0,
    recursiveClear: 0,
    propagation: 0,
    propagationRecursive: false,
    idmap: "no",
    copyUp: false,
    flags: [],
    data: [],
  };
  for (const option of mount.options ?? []) {
    const attribute = ATTRIBUTES[option];
    const recursive = option.startsWith("r") ? ATTRIBUTES[option.slice(1)] : undefined;
    const propagation = PROPAGATION[option] ?? (option.startsWith("r") ? PROPAGATION[option.slice(1)] : undefined);
    if (attribute) {
      // A later word wins over an earlier one.
      result.set = (result.set & ~(attribute[0] | attribute[1])) | attribute[0];
      result.clear = (result.clear & ~attribute[0]) | attribute[1];
    } else if (propagation !== undefined) {
      result.propagation = propagation;
      result.propagationRecursive = PROPAGATION[option] === undefined;
    } else if (recursive) {
      result.recursiveSet = (result.recursiveSet & ~(recursive[0] | recursive[1])) | recursive[0];
      result.recursiveClear = (result.recursiveClear & ~recursive[0]) | recursive[1];
    } else if (option === "bind" || option === "rbind") {
      result.bind = true;
      result.recursive = option === "rbind";
    } else if (option === "idmap" || option === "ridmap") {
      result.idmap = option === "idmap" ? "mount" : "recursive";
    } else if (option === "tmpcopyup") {
      result.copyUp = true;
    } else if (option in SUPERBLOCK) {
      const flag = SUPERBLOCK[option];
      if (flag) result.flags.push(flag);
    } else {
      const equals = option.indexOf("=");
      result.data.push(equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)]);
    }
  }
  return result;
}
