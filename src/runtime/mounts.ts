import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Operand, Slot } from "../program/ir.ts";
import type { Builder } from "./builder.ts";
import { type CgroupPart, mountCgroups } from "./cgroup-mounts.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";
import { SUPERBLOCK_FLAGS, setting } from "./mount-options.ts";
import { ownsSuperblock, type PlannedMount } from "./mount-plan.ts";

/**
 * On the host, before the container's namespaces exist: bind sources as detached copies, with what they ask for.
 * `userns` maps the owners of those that have no user namespace of their own; `propagation` is of those without a word.
 */
export function openSources(
  p: Builder,
  planned: readonly PlannedMount[],
  userns: Slot | undefined,
  propagation: number,
): void {
  for (const mount of planned) {
    const ofDevice = isOfDevice(mount) && !userns;
    if (mount.kind !== "bind" && !ofDevice) continue;
    mount.number = takeNumber(p);
    const { why, options, number } = mount;
    if (ofDevice) {
      const made = p.newMount(why, mount.type, mount.source, filesystemData(mount), attributesOf(mount).now);
      mapOwners(p, mount, made, userns);
      p.call(why, "dup3", [made, number, k.O_CLOEXEC]);
      p.call(why, "close", [made]);
      continue;
    }
    const tree = p.copyMount(why, k.AT_FDCWD, mount.source!, options.recursive ? k.AT_RECURSIVE : 0);
    const { set, clear, recursiveSet, recursiveClear } = options;
    propagate(p, mount, tree, propagation);
    if (set || clear) p.setAttributes(why, tree, { set, clear });
    if (recursiveSet || recursiveClear) {
      p.setAttributes(why, tree, { set: recursiveSet, clear: recursiveClear, recursive: true });
    }
    mapOwners(p, mount, tree, userns);
    p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
    // Else some hundred of them would reach the numbers of others.
    p.call(why, "close", [tree]);
  }
}

/**
 * A file system on a device of the host's, which the container's own cgroup may not be allowed to open; or one of the
 * network (`host:/path`), which is the host's network.
 */
const isOfDevice = (mount: PlannedMount) =>
  mount.kind === "filesystem" && /^(\/|[^/]*:\/)/.test(mount.source ?? "") && !needsClassicMount(mount);

/** Of a new mount: at once, and whether it becomes read-only when all others are in their places. */
function attributesOf({ options, type, destination }: PlannedMount): { now: number; late: boolean } {
  const attributes = (options.set & ~options.recursiveClear) | options.recursiveSet;
  // What others are mounted in, and what is filled or written first.
  const late =
    (attributes & k.MOUNT_ATTR_RDONLY) !== 0 && (type === "tmpfs" || type === "proc" || destination === "/dev");
  return { now: late ? attributes & ~k.MOUNT_ATTR_RDONLY : attributes, late };
}

/** A copy is a peer of its source until it is told otherwise: what is mounted in it would be on the host too. */
function propagate(p: Builder, { why, options }: PlannedMount, tree: Slot, inherited: number): void {
  const { propagation, propagationRecursive } = options;
  if (propagation === 0 || propagation === inherited) {
    p.setAttributes(why, tree, { propagation: inherited, recursive: true });
    return;
  }
  // The mounts below hear of the host's at most as much as this one, and tell it nothing.
  if (propagation === k.MS_UNBINDABLE && !propagationRecursive) {
    p.setAttributes(why, tree, { propagation: k.MS_PRIVATE, recursive: true });
  }
  p.setAttributes(why, tree, {
    propagation,
    recursive: propagationRecursive || propagation === k.MS_SLAVE || propagation === k.MS_PRIVATE,
  });
}

/** `idmap`: by mappings of its own, which the launcher made a user namespace of, or by the container's. */
function mapOwners(p: Builder, { why, options, given }: PlannedMount, mount: Operand, userns: Slot | undefined): void {
  if (options.idmap === "no") return;
  const by = given?.userns ?? userns;
  if (by === undefined) throw invalid(`${why}: idmap: there is no user namespace for it`);
  p.setAttributes(`${why}: idmap`, mount, { userns: by, recursive: options.idmap === "recursive" });
}

/** What {@link attachMounts} leaves for later rows. */
export interface Attached {
  /** proc's own descriptor, for what is written there. */
  proc: Slot | undefined;
  /** Mounts that become read-only when all is in its place: descriptor numbers. */
  late: { why: string; number: number }[];
}

/** In the container: every mount in the order of the config. */
export function attachMounts(
  p: Builder,
  planned: readonly PlannedMount[],
  cgroups: ReadonlyMap<PlannedMount, readonly CgroupPart[]>,
  userns: Slot | undefined,
): Attached {
  const attached: Attached = { proc: undefined, late: [] };
  for (const mount of planned) {
    const { why, destination } = mount;
    if (mount.kind === "remount") {
      remount(p, mount);
      continue;
    }
    if (mount.kind === "bind") {
      if (mount.sourceIsDirectory) p.makeDirectory(why, destination, { strict: true });
      else p.makeFile(why, destination, { strict: true });
      attachNumber(p, why, mount.number, p.mountPoint(why, destination));
      if (destination === "/proc") keepProc(p, why, mount.number, attached);
    } else {
      p.makeDirectory(why, destination, { strict: true });
      if (mount.kind === "cgroup") mountCgroups(p, mount, attributesOf(mount).now, cgroups.get(mount) ?? []);
      else attachFilesystem(p, mount, userns, attached);
    }
    p.covered(destination);
  }
  return attached;
}

function attachFilesystem(p: Builder, mount: PlannedMount, userns: Slot | undefined, attached: Attached): void {
  const { why, destination, options, type, given } = mount;
  const { now, late } = attributesOf(mount);
  let made: Operand;
  if (given?.mount !== undefined) {
    made = given.mount;
    if (now) p.setAttributes(why, made, setting(now));
    attachNumber(p, why, given.mount, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
  } else if (mount.number !== 0) {
    made = mount.number;
    attachNumber(p, why, mount.number, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
  } else if (needsClassicMount(mount)) made = classicMount(p, mount, now);
  else {
    const slot = p.newMount(why, type, mount.source ?? type, filesystemData(mount), now);
    mapOwners(p, mount, slot, userns);
    p.attach(why, slot, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
    made = slot;
  }
  if (options.propagation) p.setAttributes(why, made, { propagation: options.propagation });
  if (type === "proc" && destination === "/proc") keepProc(p, why, made, attached);
  if (late) {
    const number = takeNumber(p);
    p.call(why, "dup3", [made, number, k.O_CLOEXEC]);
    attached.late.push({ why, number });
  }
}

/** Words of {@link SUPERBLOCK_FLAGS} that fsconfig(2) takes. */
const SUPERBLOCK_WORDS = [
  [k.MS_SYNCHRONOUS, "sync"],
  [k.MS_DIRSYNC, "dirsync"],
  [k.MS_LAZYTIME, "lazytime"],
  [k.MS_MANDLOCK, "mand"],
  [k.MS_RDONLY, "ro"],
] as const;

/** The options of a new file system, as fsconfig(2) takes them. */
export function filesystemData({ type, options }: PlannedMount): [key: string, value: string | undefined][] {
  if (!ownsSuperblock(type)) return options.data;
  // A tmpfs is filled before it is closed.
  const flags = type === "tmpfs" || type === "devpts" ? options.flags & ~k.MS_RDONLY : options.flags;
  const words = SUPERBLOCK_WORDS.filter(([flag]) => flags & flag).map(([, word]) => [word, undefined] as const);
  return [...words.map(([word]) => [word, undefined] as [string, undefined]), ...options.data];
}

/** A string for fsconfig(2) is at most 255 bytes. */
const FSCONFIG_MAX = 255;
/** mount(2) takes one page of options. */
const MOUNT_DATA_MAX = 4095;

/** fsconfig(2) has no way to say these. */
function needsClassicMount({ options, source, type }: PlannedMount): boolean {
  const words = [source ?? type, ...options.data.flatMap(([key, value = ""]) => [key, value])];
  return (
    (options.flags & (k.MS_I_VERSION | k.MS_SILENT)) !== 0 ||
    words.some((word) => Buffer.byteLength(word) > FSCONFIG_MAX)
  );
}

/** By mount(2), on the open place: no path is looked up again. Returns the new mount. */
function classicMount(p: Builder, mount: PlannedMount, attributes: number): Slot {
  const { why, destination, options, type, source } = mount;
  if (options.idmap !== "no") throw invalid(`${why}: idmap does not go with options as long as these`);
  const place = p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY);
  p.call(why, "fchdir", [place]);
  const flags = ownsSuperblock(type) ? options.flags & SUPERBLOCK_FLAGS : options.flags & k.MS_SILENT;
  const readonly = ownsSuperblock(type) && type !== "tmpfs" && type !== "devpts" ? options.flags & k.MS_RDONLY : 0;
  p.call(why, "mount", [p.text(source ?? type), p.text("."), p.text(type), flags | readonly, dataText(p, mount)]);
  const made = p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY);
  if (attributes) p.setAttributes(why, made, setting(attributes));
  return made;
}

function dataText(p: Builder, { why, options }: PlannedMount): Operand {
  if (options.data.length === 0) return 0;
  const words = options.data.map(([key, value]) => {
    if (value === undefined) return key;
    // A label has commas of its own.
    return key === "context" ? `${key}="${value.replace(/^"|"$/g, "")}"` : `${key}=${value}`;
  });
  const text = words.join(",");
  if (Buffer.byteLength(text) > MOUNT_DATA_MAX) {
    throw invalid(`${why}: the options come to more than the ${MOUNT_DATA_MAX} bytes that mount(2) takes`);
  }
  return p.text(text);
}

/** `remount` of an earlier entry: of the mount alone where its superblock is not the container's own. */
function remount(p: Builder, mount: PlannedMount): void {
  const { why, destination, options } = mount;
  const place = p.mountPoint(why, destination);
  const { set, clear, recursiveSet, recursiveClear, propagation, propagationRecursive } = options;
  if (!options.bind) {
    p.call(why, "fchdir", [place]);
    const flags = k.MS_REMOUNT | options.flags;
    p.call(why, "mount", [0, p.text("."), 0, flags, dataText(p, mount)]);
  } else if (set || clear) p.setAttributes(why, place, { set, clear });
  if (recursiveSet || recursiveClear) {
    p.setAttributes(why, place, { set: recursiveSet, clear: recursiveClear, recursive: true });
  }
  if (propagation) p.setAttributes(why, place, { propagation, recursive: propagationRecursive });
}

const PROC_NUMBER = 299;

function keepProc(p: Builder, why: string, made: Operand, attached: Attached): void {
  attached.proc ??= p.slot("proc");
  p.call(why, "dup3", [made, PROC_NUMBER, k.O_CLOEXEC], { into: attached.proc });
}
