import { posix } from "node:path";
import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, readlinkat, statat } from "../linux/file.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import type { Rootfs } from "./rootfs.ts";

/** A container's files as the host has them, while they are not mounted. */
export interface Tree {
  /** Directories, top first. */
  layers: readonly string[];
  binds: readonly { destination: string; source: string }[];
}

export function treeOf(rootfs: Rootfs, spec: Spec): Tree {
  return {
    layers: rootfs.kind === "overlay" ? [rootfs.upper, ...rootfs.lower] : [rootfs.path],
    binds: (spec.mounts ?? []).flatMap(({ type, source, destination, options = [] }) =>
      source && (type === "bind" || options.includes("bind") || options.includes("rbind"))
        ? [{ source, destination: posix.resolve("/", destination) }]
        : [],
    ),
  };
}

/** As path_resolution(7). */
const MAX_LINKS = 40;

/**
 * An O_PATH descriptor of what `path` is, symlinks followed inside the tree; the caller closes it. Undefined if there is
 * nothing, or what only the running container has (tmpfs, /proc). The tree is hostile: each step goes by one descriptor,
 * and none follows a link of the kernel's.
 */
export function openInTree(tree: Tree, path: string): number | undefined {
  const resolved = resolveInTree(tree, path);
  const fd = resolved === "/" ? undefined : openEntry(tree, resolved);
  if (fd === undefined) return undefined;
  if ((statat(fd, "").mode & k.S_IFMT) !== k.S_IFLNK) return fd;
  close(fd);
  return undefined;
}

/**
 * Where `path` leads inside the tree, without symlinks: what is missing on the way is kept as it stands, so that it can
 * be made. A circle of links is an invalid-argument error.
 */
export function resolveInTree(tree: Tree, path: string): string {
  if (!hasLink(tree, path)) return posix.resolve("/", path);
  let rest = namesOf(path);
  let at: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const [name = "", ...after] = rest;
    rest = after;
    if (name === "..") {
      at.pop();
      continue;
    }
    const target = linkAt(tree, `/${[...at, name].join("/")}`);
    if (target === undefined) {
      at.push(name);
      continue;
    }
    if (++links > MAX_LINKS) throw invalid(`${path}: too many levels of symbolic links in the image`);
    if (target.startsWith("/")) at = [];
    rest = [...namesOf(target), ...rest];
  }
  return `/${at.join("/")}`;
}

/** Without making a string, since each of many mounts asks it of all others. */
export const isBelow = (path: string, directory: string) =>
  path[directory.length] === "/" && path.startsWith(directory);

const namesOf = (path: string) => path.split("/").filter((name) => name !== "" && name !== ".");

/** Whether a layer has a symlink on the way, or may have one: the common answer is no, and costs one call a layer. */
function hasLink(tree: Tree, path: string): boolean {
  if (namesOf(path).includes("..")) return true;
  if (tree.binds.some(({ destination }) => isBelow(path, destination))) return true;
  for (const layer of tree.layers) {
    let root: number | undefined;
    try {
      root = openat(k.AT_FDCWD, layer, k.O_PATH | k.O_DIRECTORY);
      close(openat2(root, posix.relative("/", path) || ".", k.O_PATH, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS));
      return false;
    } catch (error) {
      if (codeOf(error) !== "ENOENT") return true;
    } finally {
      if (root !== undefined) close(root);
    }
  }
  return false;
}

function linkAt(tree: Tree, path: string): string | undefined {
  const fd = openEntry(tree, path);
  if (fd === undefined) return undefined;
  try {
    return (statat(fd, "").mode & k.S_IFMT) === k.S_IFLNK ? readlinkat(fd, "").toString() : undefined;
  } finally {
    close(fd);
  }
}

/** As {@link openInTree}, of a `path` that has no symlink but perhaps its last name, which is not followed. */
export function openEntry(tree: Tree, path: string): number | undefined {
  const bind = tree.binds
    .filter(({ destination }) => path === destination || isBelow(path, destination))
    .reduce<Tree["binds"][number] | undefined>(
      (best, each) => (best && best.destination.length > each.destination.length ? best : each),
      undefined,
    );
  if (bind) return openBelow(bind.source, path.slice(bind.destination.length + 1));
  for (const layer of tree.layers) {
    const fd = openBelow(layer, path.slice(1));
    if (fd === undefined) continue;
    const { mode, rdevMajor, rdevMinor } = statat(fd, "");
    if ((mode & k.S_IFMT) !== k.S_IFCHR || rdevMajor !== 0 || rdevMinor !== 0) return fd;
    close(fd);
    return undefined;
  }
  return undefined;
}

function openBelow(directory: string, path: string): number | undefined {
  let root: number | undefined;
  try {
    root = openat(k.AT_FDCWD, directory, k.O_PATH);
    if (path === "") return root;
    return openat2(root, path, k.O_PATH | k.O_NOFOLLOW, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP", "EXDEV"].includes(codeOf(error) ?? "")) return undefined;
    throw error;
  } finally {
    if (root !== undefined && path !== "") close(root);
  }
}
