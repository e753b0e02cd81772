import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Mount } from "../spec/oci-runtime.ts";

/** What the options of one mount come to (runtime-spec config.md, "Linux mount options"). */
export interface MountOptions {
  bind: boolean;
  recursive: boolean;
  /** Changes what is mounted there by an earlier entry. */
  remount: boolean;
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
  /** MS_* that were set, of the mount and of the superblock. */
  flags: number;
  /** Everything else belongs to the file system: key and value. */
  data: [key: string, value: string | undefined][];
}

/** Word → the flag of mount(2) that it sets; its opposite clears it. */
const FLAGS: readonly (readonly [word: string, opposite: string, flag: number])[] = [
  ["ro", "rw", k.MS_RDONLY],
  ["nosuid", "suid", k.MS_NOSUID],
  ["nodev", "dev", k.MS_NODEV],
  ["noexec", "exec", k.MS_NOEXEC],
  ["nodiratime", "diratime", k.MS_NODIRATIME],
  ["nosymfollow", "symfollow", k.MS_NOSYMFOLLOW],
  ["relatime", "norelatime", k.MS_RELATIME],
  ["noatime", "atime", k.MS_NOATIME],
  ["strictatime", "nostrictatime", k.MS_STRICTATIME],
  ["sync", "async", k.MS_SYNCHRONOUS],
  ["dirsync", "", k.MS_DIRSYNC],
  ["lazytime", "nolazytime", k.MS_LAZYTIME],
  ["mand", "nomand", k.MS_MANDLOCK],
  ["iversion", "noiversion", k.MS_I_VERSION],
  ["silent", "loud", k.MS_SILENT],
];
const SETS = new Map(FLAGS.map(([word, , flag]) => [word, flag]));
const CLEARS = new Map(FLAGS.map(([, opposite, flag]) => [opposite, flag]));
CLEARS.delete("");

export const SUPERBLOCK_FLAGS =
  k.MS_SYNCHRONOUS | k.MS_DIRSYNC | k.MS_LAZYTIME | k.MS_MANDLOCK | k.MS_I_VERSION | k.MS_SILENT;

/** Flags that are the mount's own, and not of the kind of atime. */
const PLAIN: readonly (readonly [flag: number, attribute: number])[] = [
  [k.MS_RDONLY, k.MOUNT_ATTR_RDONLY],
  [k.MS_NOSUID, k.MOUNT_ATTR_NOSUID],
  [k.MS_NODEV, k.MOUNT_ATTR_NODEV],
  [k.MS_NOEXEC, k.MOUNT_ATTR_NOEXEC],
  [k.MS_NODIRATIME, k.MOUNT_ATTR_NODIRATIME],
  [k.MS_NOSYMFOLLOW, k.MOUNT_ATTR_NOSYMFOLLOW],
];

/** Of several kinds of atime mount(2) takes the first of these. */
const ATIME: readonly (readonly [flag: number, attribute: number])[] = [
  [k.MS_STRICTATIME, k.MOUNT_ATTR_STRICTATIME],
  [k.MS_NOATIME, k.MOUNT_ATTR_NOATIME],
  [k.MS_RELATIME, k.MOUNT_ATTR_RELATIME],
];
const ATIME_FLAGS = k.MS_STRICTATIME | k.MS_NOATIME | k.MS_RELATIME;

const PROPAGATION = new Map([
  ["private", k.MS_PRIVATE],
  ["slave", k.MS_SLAVE],
  ["shared", k.MS_SHARED],
  ["unbindable", k.MS_UNBINDABLE],
]);

/** Flags of mount(2) that were set and cleared, as attributes for mount_setattr(2). */
function attributes(set: number, cleared: number): readonly [set: number, clear: number] {
  let [on, off] = [0, 0];
  for (const [flag, attribute] of PLAIN) {
    if (set & flag) on |= attribute;
    if (cleared & flag) off |= attribute;
  }
  const atime = ATIME.find(([flag]) => set & flag);
  // The kind of atime is one field of three values: setting one clears the field first.
  if (atime) on |= atime[1];
  if ((set | cleared) & ATIME_FLAGS) off |= k.MOUNT_ATTR__ATIME;
  return [on, off];
}

/** A change for mount_setattr(2) that sets these: a kind of atime replaces the one that is there. */
export const setting = (set: number): { set: number; clear: number } => ({
  set,
  clear: set & k.MOUNT_ATTR__ATIME ? k.MOUNT_ATTR__ATIME : 0,
});

/** Every word that {@link parseMountOptions} takes for itself. */
export const MOUNT_WORDS: readonly string[] = [
  ...[...SETS, ...CLEARS].flatMap(([word, flag]) => (flag & SUPERBLOCK_FLAGS ? [word] : [word, `r${word}`])),
  ...[...PROPAGATION.keys()].flatMap((word) => [word, `r${word}`]),
  ..."bind rbind defaults remount idmap ridmap tmpcopyup".split(" "),
];

export function parseMountOptions(mount: Mount): MountOptions {
  const result: MountOptions = {
    bind: mount.type === "bind" || mount.type === "rbind",
    recursive: mount.type === "rbind",
    remount: false,
    set: 0,
    clear: 0,
    recursiveSet: 0,
    recursiveClear: 0,
    propagation: 0,
    propagationRecursive: false,
    idmap: "no",
    copyUp: false,
    flags: 0,
    data: [],
  };
  let [set, cleared] = [0, 0];
  let [treeSet, treeCleared] = [0, 0];
  for (const option of mount.options ?? []) {
    const on = SETS.get(option);
    const off = CLEARS.get(option);
    const below = option.startsWith("r") ? option.slice(1) : "";
    const treeOn = SETS.get(below);
    const treeOff = CLEARS.get(below);
    const propagation = PROPAGATION.get(option) ?? PROPAGATION.get(below);
    // A later word wins over an earlier one.
    if (on !== undefined) [set, cleared] = [set | on, cleared & ~on];
    else if (off !== undefined) [set, cleared] = [set & ~off, cleared | off];
    else if (propagation !== undefined) {
      result.propagation = propagation;
      result.propagationRecursive = !PROPAGATION.has(option);
    } else if (treeOn !== undefined && !(treeOn & SUPERBLOCK_FLAGS)) {
      // An atime word of a tree is the kind itself, so the last one counts.
      if (treeOn & ATIME_FLAGS) treeSet &= ~ATIME_FLAGS;
      [treeSet, treeCleared] = [treeSet | treeOn, treeCleared & ~treeOn];
    } else if (treeOff !== undefined && !(treeOff & SUPERBLOCK_FLAGS)) {
      [treeSet, treeCleared] = [treeSet & ~treeOff, treeCleared | treeOff];
    } else if (option === "bind" || option === "rbind") {
      result.bind = true;
      result.recursive = option === "rbind";
    } else if (option === "remount") {
      result.remount = true;
    } else if (option === "idmap" || option === "ridmap") {
      result.idmap = option === "idmap" ? "mount" : "recursive";
    } else if (option === "tmpcopyup") {
      result.copyUp = true;
    } else if (option !== "defaults" && option !== "") {
      const equals = option.indexOf("=");
      if (equals === 0) throw invalid(`mount on ${mount.destination}: option ${JSON.stringify(option)} has no name`);
      result.data.push(equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)]);
    }
  }
  [result.set, result.clear] = attributes(set, cleared);
  [result.recursiveSet, result.recursiveClear] = attributes(treeSet, treeCleared);
  result.flags = set;
  return result;
}
