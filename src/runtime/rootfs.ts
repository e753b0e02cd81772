import { release } from "node:os";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { inUserNamespace } from "../linux/rights.ts";
import type { Slot } from "../program/ir.ts";
import type { Builder } from "./builder.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";

/** Where the container's root comes from. */
export type Rootfs =
  | {
      kind: "overlay";
      /** Directories, top first; `/` is the machine's own root. */
      lower: readonly string[];
      upper: string;
      work: string;
      /** So many of the uppermost have the owners of the container's user namespace already. */
      mapped?: number;
      /** The container goes with its upper directory, so nothing of it needs to reach the disk. */
      volatile?: boolean;
      /** In place of `lower`, for a root that can be had only in parts: these over the overlay on `base`. */
      inParts?: { base: string; parts: readonly RootPart[] };
    }
  | { kind: "directory"; path: string };

/** A directory of the host that becomes the same one in the root: by an overlay, or bound read-only with all mounts in it. */
export type RootPart = { path: string } & ({ bind: true } | { bind: false; upper: string; work: string });

const [major = 0, minor = 0] = release().split(".").map(Number);
export const kernelAtLeast = (wantMajor: number, wantMinor: number) =>
  major > wantMajor || (major === wantMajor && minor >= wantMinor);

/** Features that would put names and contents elsewhere than where `diff` and `commit` look for them. */
const PLAIN: readonly (readonly [key: string, value: string])[] = [
  // With userxattr nothing is redirected in any case, and only this word is taken.
  ["redirect_dir", inUserNamespace() ? "nofollow" : "off"],
  ["metacopy", "off"],
  ["index", "off"],
];

/** A string for fsconfig(2) is at most 255 bytes. */
const FSCONFIG_MAX = 255;
/** mount(2) takes one page of options. */
const MOUNT_DATA_MAX = 4095;

/**
 * The root as a detached mount, made with the host's credentials and in the host's mount namespace, but attached
 * nowhere in it. `userns` maps the owners of the layers; `propagation` is MS_PRIVATE or MS_SLAVE.
 */
export function detachedRoot(p: Builder, rootfs: Rootfs, userns: Slot | undefined, propagation: number): Slot {
  const root = p.slot("rootfs");
  if (rootfs.kind === "directory") {
    const why = "root.path";
    p.call(
      why,
      "open_tree",
      [k.AT_FDCWD, p.text(rootfs.path), k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_RECURSIVE],
      {
        into: root,
      },
    );
    p.setAttributes(why, root, { propagation, recursive: true });
    return root;
  }
  const { inParts } = rootfs;
  if (inParts) {
    const { kind, upper, work } = rootfs;
    overlay(p, root, { kind, lower: [inParts.base], upper, work }, undefined);
    for (const part of inParts.parts) openPart(p, part);
  } else overlay(p, root, rootfs, userns);
  return root;
}

type Overlay = Rootfs & { kind: "overlay" };

/** Makes the mount, attached nowhere. */
function overlay(p: Builder, root: Slot, rootfs: Overlay, userns: Slot | undefined): void {
  const why = "root: overlay of the image's layers";
  if (rootfs.lower.length === 0) throw invalid("an overlay needs at least one lower directory");
  const fs = p.temporary("overlay context");
  p.call(why, "fsopen", [p.text("overlay"), k.FSOPEN_CLOEXEC], { into: fs });
  for (const [i, lower] of rootfs.lower.entries()) {
    let path = lower;
    const maps = userns !== undefined && i >= (rootfs.mapped ?? 0);
    if (maps || lower.length > FSCONFIG_MAX) {
      const tree = p.copyMount(why, k.AT_FDCWD, lower, 0);
      if (maps) p.setAttributes("user namespace: owners of the layer", tree, { userns });
      path = numbered(p, why, tree, i);
    }
    p.setString(why, fs, "lowerdir+", path);
  }
  for (const [i, [key, path]] of (
    [
      ["upperdir", rootfs.upper],
      ["workdir", rootfs.work],
    ] as const
  ).entries()) {
    if (path.length > FSCONFIG_MAX) {
      const fd = p.temporary(key);
      p.call(why, "openat", [k.AT_FDCWD, p.text(path), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0], { into: fd });
      p.setString(why, fs, key, numbered(p, why, fd, rootfs.lower.length + i));
    } else p.setString(why, fs, key, path);
  }
  for (const [key, value] of PLAIN) p.setString("root: the upper directory stays readable as it is", fs, key, value);
  if (inUserNamespace())
    p.call("root: xattrs of overlayfs that a user may write", "fsconfig", [
      fs,
      k.FSCONFIG_SET_FLAG,
      p.text("userxattr"),
      0,
      0,
    ]);
  if (rootfs.volatile)
    p.call("--rm: no sync at the end", "fsconfig", [fs, k.FSCONFIG_SET_FLAG, p.text("volatile"), 0, 0]);
  p.call(why, "fsconfig", [fs, k.FSCONFIG_CMD_CREATE, 0, 0, 0]);
  p.call(why, "fsmount", [fs, k.FSMOUNT_CLOEXEC, 0], { into: root });
}

const partNumbers = new WeakMap<Builder, Map<string, number>>();

function openPart(p: Builder, part: RootPart): void {
  const number = takeNumber(p);
  const tree = p.temporary(part.path);
  if (part.bind) {
    const flags = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_RECURSIVE;
    p.call(`root: ${part.path}`, "open_tree", [k.AT_FDCWD, p.text(part.path), flags], { into: tree });
    const attributes = { set: k.MOUNT_ATTR_RDONLY, propagation: k.MS_PRIVATE, recursive: true };
    p.setAttributes(`root: ${part.path}`, tree, attributes);
  } else {
    const { path, upper, work } = part;
    overlay(p, tree, { kind: "overlay", lower: [path], upper, work }, undefined);
  }
  p.call(`root: ${part.path}`, "dup3", [tree, number, k.O_CLOEXEC]);
  p.call(`root: ${part.path}`, "close", [tree]);
  const numbers = partNumbers.get(p) ?? new Map<string, number>();
  partNumbers.set(p, numbers.set(part.path, number));
}

/** A path by number, for the options that take only text: descriptors from 300 on are ours. */
function numbered(p: Builder, why: string, fd: Slot, index: number): string {
  const number = 300 + index;
  p.call(why, "dup3", [fd, number, k.O_CLOEXEC]);
  return `/proc/self/fd/${number}`;
}

/** Before Linux 6.5 the layers come as one string for mount(2), in the container's own mount namespace. */
export function needsClassicOverlay(rootfs: Rootfs): boolean {
  return rootfs.kind === "overlay" && !kernelAtLeast(6, 5);
}

export function classicOverlay(p: Builder, rootfs: Rootfs & { kind: "overlay" }, target: string): void {
  const escaped = (path: string) => path.replace(/[\\:,]/g, "\\$&");
  const options = [
    `lowerdir=${rootfs.lower.map(escaped).join(":")}`,
    `upperdir=${escaped(rootfs.upper)}`,
    `workdir=${escaped(rootfs.work)}`,
    ...PLAIN.map(([key, value]) => `${key}=${value}`),
    ...(inUserNamespace() ? ["userxattr"] : []),
    ...(rootfs.volatile ? ["volatile"] : []),
  ].join(",");
  if (Buffer.byteLength(options) > MOUNT_DATA_MAX) {
    throw invalid(`${rootfs.lower.length} layers do not fit into the options of mount(2); Linux 6.5 lifts this limit`);
  }
  p.call("root: overlay of the image's layers", "mount", [
    p.text("overlay"),
    p.text(target),
    p.text("overlay"),
    0,
    p.text(options),
  ]);
}

/** In the container's mount namespace: nothing of it reaches the host, the root is a mount of its own, and open. */
export function enterMountNamespace(p: Builder, rootfs: Rootfs, detached: Slot | undefined, target: string): void {
  p.call("mount namespace: nothing goes back to the host", "mount", [0, p.text("/"), 0, k.MS_REC | k.MS_PRIVATE, 0]);
  if (detached) {
    const place = p.temporary("mount point");
    p.call("root", "openat", [k.AT_FDCWD, p.text(target), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0], { into: place });
    p.attach("root", detached, place);
    p.root = detached;
    for (const [path, number] of partNumbers.get(p) ?? [])
      attachNumber(p, `root: ${path}`, number, p.mountPoint(`root: ${path}`, path, k.O_PATH | k.O_DIRECTORY));
  } else if (rootfs.kind === "overlay") {
    classicOverlay(p, rootfs, target);
    p.root = p.result("root", "rootfs", "openat", [
      k.AT_FDCWD,
      p.text(target),
      k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC,
      0,
    ]);
  }
}

/** root.readonly: after all that had to be made in it. */
export function readonlyRoot(p: Builder): void {
  for (const mount of [p.root!, ...(partNumbers.get(p)?.values() ?? [])])
    p.setAttributes("root.readonly", mount, { set: k.MOUNT_ATTR_RDONLY });
}

export const READ_ONLY = k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC;

/** The container's root becomes `/`, and the host's tree goes. */
export function pivot(p: Builder): void {
  const why = "pivot_root";
  p.call(why, "fchdir", [p.root!]);
  p.call(why, "pivot_root", [p.text("."), p.text(".")]);
  // The old root now lies on the new one at ".": detaching it leaves nothing of the host to go back to.
  p.call(why, "umount2", [p.text("."), k.MNT_DETACH]);
  p.call(why, "chdir", [p.text("/")]);
}

/**
 * In place of {@link pivot}, for a mount namespace that is another's: pivot_root(2) would turn its root for everybody in
 * it, and mounts made there would stay. So the root, made in a mount namespace that goes now, comes along as a tree that
 * is attached nowhere: it lasts as long as a process is in it. What is in it can mount nothing.
 */
export function enterOtherMounts(p: Builder, namespace: Slot): void {
  const why = "linux.namespaces mount: another's, with a root attached nowhere";
  const tree = p.copyMount(why, p.root!, "", k.AT_RECURSIVE);
  p.call(why, "setns", [namespace, k.CLONE_NEWNS]);
  p.call(why, "fchdir", [tree]);
  p.call(why, "chroot", [p.text(".")]);
  p.call(why, "chdir", [p.text("/")]);
}
