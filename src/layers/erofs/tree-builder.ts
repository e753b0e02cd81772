import { InroError, messageOf } from "../../base/errors.ts";
import { isPortableXattr } from "../attributes.ts";
import { type Component, entryPath, linkPath, meaningOf, toText } from "../entry-path.ts";
import { BLOCK } from "../tar-header.ts";
import type { TarEntry } from "../tar-read.ts";
import { type Directory, type Leaf, type Node, plainDirectory, type Xattrs } from "./tree.ts";

/** The kernel's own: include/uapi/linux/limits.h. */
const NAME_MAX = 255;
const PATH_MAX = 4096;
const XATTR_NAME_MAX = 255;
const XATTR_SIZE_MAX = 65535;
/** inode.i_xattr_icount has 16 bits of 4 bytes. */
const XATTRS_MAX = 200_000;
const MAX_LINKS = 40;
const MAX_DEPTH = 2048;
/** What one layer may take of this process's memory. */
const MAX_ENTRIES = 1 << 21;
const MAX_XATTR_BYTES = 256 * 1024 * 1024;

/**
 * The tree of one layer out of its tar's entries, as `Unpacker` would make it on the disk (image-spec layer.md, "Applying
 * Changesets"): what that refuses is refused here. An error is `invalid` and names the entry.
 */
export class TreeBuilder {
  readonly root = plainDirectory();
  /** Bytes of all files, those that a later entry replaces too. */
  size = 0;
  #entries = 0;
  #xattrBytes = 0;
  #directories = new Map<string, { directory: Directory; depth: number }>();

  entry(entry: TarEntry): void {
    try {
      if (++this.#entries > MAX_ENTRIES) throw new Error(`more than ${MAX_ENTRIES} entries in a layer`);
      this.#add(entry);
    } catch (error) {
      if (error instanceof InroError) throw error;
      const name = JSON.stringify(entry.name.slice(0, 300));
      throw new InroError("invalid", `unpack entry ${name}: ${messageOf(error)}`, { cause: error });
    }
  }

  #add(entry: TarEntry): void {
    const path = entryPath(entry.nameBytes);
    if (path.length === 0) {
      if (entry.type !== "directory") throw new Error("the layer's root is not a directory");
      Object.assign(this.root, this.#attributes(entry), { implied: false });
      return;
    }
    checkPath(path);
    const meaning = meaningOf(path);
    if (meaning.kind === "skip") return;
    const name = path.pop()!;
    const { directory: parent, depth } = this.#ensure(path);
    const { children } = parent;
    const existing = children.get(name);
    if (meaning.kind === "opaque") parent.opaque = true;
    else if (meaning.kind === "whiteout") whiteout(parent, meaning.name);
    else if (entry.type === "directory") {
      if (depth >= MAX_DEPTH) throw new Error(`more than ${MAX_DEPTH} directories deep`);
      const attributes = { ...this.#attributes(entry), implied: false };
      if (existing?.kind === "directory") Object.assign(existing, attributes);
      else {
        if (existing?.kind === "symlink") this.#directories.clear();
        // After a whiteout of this layer the directory must not show what that hid.
        children.set(name, { ...plainDirectory(), ...attributes, opaque: existing?.kind === "whiteout" });
      }
    } else {
      if (existing?.kind === "directory" || existing?.kind === "symlink") this.#directories.clear();
      children.delete(name);
      children.set(name, this.#leaf(entry));
    }
  }

  #leaf(entry: TarEntry): Node {
    const { type, devMajor: major, devMinor: minor, size } = entry;
    if (type === "hardlink") return this.#linked(entry);
    const attributes = this.#attributes(entry);
    switch (type) {
      case "file":
        this.size += size;
        return { kind: "file", ...attributes, size, at: entry.offset + BLOCK, device: 0 };
      case "symlink": {
        const target = entry.linknameBytes.toString("latin1");
        if (target === "") throw new Error("a symlink without a target");
        if (target.length >= PATH_MAX) throw new Error(`ENAMETOOLONG: a target of ${target.length} bytes`);
        // A symlink has no mode of its own, and no xattrs that an archive may give it.
        return { kind: "symlink", ...attributes, mode: 0o777, xattrs: [], target };
      }
      case "char":
      case "block":
        // Wider numbers would wrap to those of another device.
        if (major > 0xfff || minor > 0xfffff) throw new Error(`device ${major}:${minor} is out of range`);
        // To overlayfs that is a whiteout, wherever it comes from.
        if (type === "char" && major === 0 && minor === 0) return { kind: "whiteout" };
        return { kind: type, ...attributes, xattrs: [], major, minor };
      default:
        return { kind: "fifo", ...attributes, xattrs: [] };
    }
  }

  #linked({ linknameBytes, linkname }: TarEntry): Leaf {
    const target = linkPath(linknameBytes);
    const name = target.pop()!;
    const node = this.#open(target)?.directory.children.get(name);
    if (node === undefined || node.kind === "whiteout") {
      throw new Error(`its target ${JSON.stringify(linkname)} is not in the layer`);
    }
    if (node.kind === "directory") throw new Error(`its target ${JSON.stringify(linkname)} is a directory`);
    return node;
  }

  /** The directory at `path`, made with its parents where missing. */
  #ensure(path: readonly Component[]): { directory: Directory; depth: number } {
    if (path.length === 0) return { directory: this.root, depth: 0 };
    const key = path.join("/");
    const cached = this.#directories.get(key);
    if (cached) return cached;
    let found = this.#open(path);
    if (!found) {
      const { directory: parent, depth } = this.#ensure(path.slice(0, -1));
      const name = path.at(-1)!;
      const existing = parent.children.get(name);
      if (existing && existing.kind !== "whiteout") {
        const what = existing.kind === "symlink" ? "a dangling symlink" : "a file";
        throw new Error(`its parent ${JSON.stringify(toText(name))} is ${what}`);
      }
      if (depth >= MAX_DEPTH) throw new Error(`more than ${MAX_DEPTH} directories deep`);
      const directory = { ...plainDirectory(), opaque: existing !== undefined };
      parent.children.set(name, directory);
      found = { directory, depth: depth + 1 };
    }
    this.#directories.set(key, found);
    return found;
  }

  /** As openat2(2) with RESOLVE_IN_ROOT: a symlink that the layer itself made may stand for a directory. */
  #open(path: readonly Component[]): { directory: Directory; depth: number } | undefined {
    let at: Directory[] = [this.root];
    const rest = [...path].reverse();
    let links = 0;
    while (rest.length > 0) {
      const name = rest.pop()!;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (at.length > 1) at.pop();
        continue;
      }
      const node = at.at(-1)!.children.get(name);
      if (node?.kind === "directory") at.push(node);
      else if (node?.kind === "symlink" && ++links <= MAX_LINKS) {
        if (node.target.startsWith("/")) at = [this.root];
        rest.push(...node.target.split("/").reverse());
      } else return undefined;
    }
    return { directory: at.at(-1)!, depth: at.length - 1 };
  }

  #attributes({ mode, uid, gid, mtime, xattrs }: TarEntry) {
    return { mode, uid, gid, mtime, xattrs: this.#xattrs(xattrs) };
  }

  #xattrs(xattrs: ReadonlyMap<string, Buffer>): Xattrs {
    if (xattrs.size === 0) return [];
    const kept: [string, string][] = [];
    let bytes = 0;
    for (const [name, value] of xattrs) {
      if (!isPortableXattr(name)) continue;
      if (
        Buffer.byteLength(name) > XATTR_NAME_MAX ||
        name.includes("\0") ||
        name === "user." ||
        value.length > XATTR_SIZE_MAX
      ) {
        throw new Error(`its xattr ${JSON.stringify(name.slice(0, 100))} is too long, or has no name`);
      }
      bytes += name.length + value.length + 8;
      kept.push([Buffer.from(name).toString("latin1"), value.toString("latin1")]);
    }
    this.#xattrBytes += bytes;
    if (bytes > XATTRS_MAX || this.#xattrBytes > MAX_XATTR_BYTES)
      throw new Error(`more than ${XATTRS_MAX} bytes of xattrs`);
    return kept.sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

function checkPath(path: readonly Component[]): void {
  let length = 0;
  for (const name of path) {
    if (name.length > NAME_MAX) throw new Error("ENAMETOOLONG: the kernel takes 255 bytes a name and 4095 a path");
    length += name.length + 1;
  }
  if (length > PATH_MAX) throw new Error("ENAMETOOLONG: the kernel takes 255 bytes a name and 4095 a path");
}

/** A whiteout is about lower layers only: what this layer has under the name stays. */
function whiteout(parent: Directory, name: Component): void {
  const existing = parent.children.get(name);
  if (existing?.kind === "directory") existing.opaque = true;
  else if (!existing) parent.children.set(name, { kind: "whiteout" });
}
