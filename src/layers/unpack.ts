import { codeOf, InroError, messageOf, SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import {
  chmod,
  chownat,
  close,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  type Nanoseconds,
  openat,
  openat2,
  statat,
  symlinkat,
  unlinkat,
  utimensat,
  writeAll,
} from "../linux/file.ts";
import { inUserNamespace } from "../linux/rights.ts";
import { PLAIN_DIRECTORY, setAttributes } from "./attributes.ts";
import { Directories, makeOpaque } from "./directories.ts";
import { type Component, entryPath, linkPath, meaningOf, toName } from "./entry-path.ts";
import { isDirectory, isOpaque, isWhiteout, MergedTree } from "./merged.ts";
import { removeTree } from "./remove-tree.ts";
import type { TarEntry } from "./tar-read.ts";

/**
 * Writes the entries of one layer's tar below an empty directory, in overlayfs's form (image-spec layer.md "Applying
 * Changesets"). Call entry, data for each piece of its body, end; after the last entry finish; always close.
 *
 * Every name is resolved from the root's descriptor: nothing outside it is touched, whatever the archive says. An error
 * is an InroError that names the entry; the directory is then for the caller to remove.
 */
export class Unpacker {
  readonly #root: number;
  readonly #lowers: MergedTree;
  readonly #directories: Directories;
  /** Times that directories get when nothing is written in them any more. */
  readonly #times = new Map<string, Nanoseconds>();
  #entry: TarEntry | undefined;
  #file = -1;
  #rootSeen = false;
  #size = 0;

  /** `root` is the empty directory; `lowers` the layer directories below, top first. */
  constructor(root: string, lowers: readonly string[]) {
    this.#root = openat(k.AT_FDCWD, root, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    try {
      this.#lowers = new MergedTree(lowers);
    } catch (error) {
      close(this.#root);
      throw error;
    }
    this.#directories = new Directories(this.#root, this.#lowers);
  }

  /** Bytes of all files so far. */
  get size(): number {
    return this.#size;
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#guard(() => this.#begin(entry));
  }

  data(piece: Uint8Array): void {
    if (this.#file < 0) return;
    this.#size += piece.length;
    this.#guard(() => writeAll(this.#file, piece));
  }

  end(): void {
    const entry = this.#entry!;
    if (this.#file < 0) return;
    this.#guard(() => {
      setAttributes(this.#file, entry);
      utimensat(this.#file, "", entry.mtime, entry.mtime);
    });
    close(this.#file);
    this.#file = -1;
  }

  finish(): void {
    this.#entry = undefined;
    this.#guard(() => {
      if (!this.#rootSeen) {
        const lower = this.#directories.inheritLower([], this.#root);
        if (lower) this.#times.set("", lower.mtime);
        else setAttributes(this.#root, PLAIN_DIRECTORY);
      }
      this.#spreadOpaqueRoot();
      for (const [path, mtime] of this.#times) {
        // An entry of the archive may have put something else there since.
        const fd = this.#directories.open(path === "" ? [] : path.split("/"), k.O_NOFOLLOW);
        if (fd === undefined) continue;
        try {
          utimensat(fd, "", mtime, mtime);
        } finally {
          close(fd);
        }
      }
    });
  }

  close(): void {
    if (this.#file >= 0) close(this.#file);
    this.#file = -1;
    this.#directories.close();
    this.#lowers.close();
    close(this.#root);
  }

  #begin(entry: TarEntry): void {
    const path = entryPath(entry.nameBytes);
    if (path.length === 0) {
      if (entry.type !== "directory") throw new Error("the layer's root is not a directory");
      this.#rootSeen = true;
      setAttributes(this.#root, entry);
      this.#times.set("", entry.mtime);
      return;
    }
    const meaning = meaningOf(path);
    if (meaning.kind === "skip") return;
    const last = path.pop()!;
    const parent = this.#directories.ensure(path, (made, mtime) => this.#times.set(made.join("/"), mtime));
    if (meaning.kind === "opaque") makeOpaque(parent);
    else if (meaning.kind === "whiteout") this.#whiteout(parent, meaning.name);
    else if (entry.type === "directory") this.#directory(parent, path, last, entry);
    else this.#create(parent, path, last, entry);
  }

  /** A whiteout is about lower layers only: what this layer has under the name stays. */
  #whiteout(parent: number, name: Component): void {
    try {
      mknodat(parent, toName(name), k.S_IFCHR, 0);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      if (isDirectory(statat(parent, toName(name)))) this.#within(parent, name, makeOpaque);
    }
  }

  #directory(parent: number, above: readonly Component[], name: Component, entry: TarEntry): void {
    try {
      mkdirat(parent, toName(name), 0o700);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      const existing = statat(parent, toName(name));
      if (!isDirectory(existing)) {
        unlinkat(parent, toName(name));
        mkdirat(parent, toName(name), 0o700);
        // After a whiteout of this layer the directory must not show what that hid.
        if (isWhiteout(existing)) this.#within(parent, name, makeOpaque);
        this.#directories.forget();
        parent = this.#parent(above);
      }
    }
    this.#within(parent, name, (fd) => setAttributes(fd, entry));
    this.#times.set([...above, name].join("/"), entry.mtime);
  }

  #create(parent: number, above: readonly Component[], name: Component, entry: TarEntry): void {
    const make = () => this.#make(parent, toName(name), entry);
    try {
      make();
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      const existing = statat(parent, toName(name)).mode & k.S_IFMT;
      removeTree(parent, toName(name));
      if (existing === k.S_IFDIR || existing === k.S_IFLNK) {
        this.#directories.forget();
        parent = this.#parent(above);
      }
      make();
    }
  }

  #make(parent: number, name: string | Buffer, entry: TarEntry): void {
    switch (entry.type) {
      case "file":
        // O_EXCL also refuses a symlink as the last component.
        this.#file = openat(parent, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o600);
        return;
      case "hardlink":
        this.#link(parent, name, entry);
        return;
      case "symlink":
        if (entry.linknameBytes.length === 0) throw new Error("a symlink without a target");
        symlinkat(entry.linknameBytes, parent, name);
        chownat(parent, name, entry.uid, entry.gid);
        utimensat(parent, name, entry.mtime, entry.mtime);
        return;
      default:
        this.#node(parent, name, entry);
    }
  }

  #link(parent: number, name: string | Buffer, entry: TarEntry): void {
    const target = linkPath(entry.linknameBytes);
    const last = toName(target.pop()!);
    const directory = this.#directories.open(target);
    if (directory === undefined) throw new Error(`its target ${JSON.stringify(entry.linkname)} is not in the layer`);
    try {
      // Without AT_SYMLINK_FOLLOW: a symlink as the target is linked itself.
      linkat(directory, last, parent, name);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      throw new Error(`its target ${JSON.stringify(entry.linkname)} is not in the layer`);
    } finally {
      close(directory);
    }
  }

  #node(parent: number, name: string | Buffer, entry: TarEntry): void {
    const { devMajor, devMinor } = entry;
    // Wider numbers would wrap to those of another device.
    if (devMajor > 0xfff || devMinor > 0xfffff) throw new Error(`device ${devMajor}:${devMinor} is out of range`);
    // Nobody can make devices here, and a container has its own: as containerd and podman do it.
    if (entry.type !== "fifo" && inUserNamespace()) return;
    const format = entry.type === "fifo" ? k.S_IFIFO : entry.type === "char" ? k.S_IFCHR : k.S_IFBLK;
    mknodat(parent, name, format, makedev(devMajor, devMinor));
    chownat(parent, name, entry.uid, entry.gid);
    // O_PATH: opening a device has effects, opening a fifo blocks.
    const fd = openat(parent, name, k.O_PATH | k.O_NOFOLLOW);
    try {
      chmod(fd, entry.mode);
    } finally {
      close(fd);
    }
    utimensat(parent, name, entry.mtime, entry.mtime);
  }

  /** Overlayfs does not look at the root's own xattrs, so an opaque root is spelt out name by name. */
  #spreadOpaqueRoot(): void {
    if (!isOpaque(this.#root)) return;
    for (const { name } of this.#lowers.list(this.#lowers.root)) this.#whiteout(this.#root, name);
  }

  #parent(path: readonly Component[]): number {
    return this.#directories.ensure(path, () => {});
  }

  /** Runs `body` with the directory `name` of `parent` open. */
  #within(parent: number, name: Component, body: (fd: number) => void): void {
    const fd = openat2(parent, toName(name), k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    try {
      body(fd);
    } finally {
      close(fd);
    }
  }

  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      const where = this.#entry ? `unpack entry ${JSON.stringify(this.#entry.name.slice(0, 300))}` : "finish the layer";
      // What the kernel refuses is the machine's state, but for names and targets, which are the archive's doing.
      const archive = !(error instanceof SysError) || ARCHIVE_ERRNO.has(error.code);
      const hint = HINTS[codeOf(error) ?? ""];
      const message = `${where}: ${messageOf(error)}${hint ? ` (${hint})` : ""}`;
      throw new InroError(archive ? "invalid" : "internal", message, { cause: error });
    }
  }
}

const ARCHIVE_ERRNO = new Set(["ENAMETOOLONG", "ELOOP", "ENOTDIR", "EINVAL", "EISDIR"]);
const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the kernel takes 255 bytes a name and 4095 a path",
  EPERM: "layers are unpacked by root with CAP_CHOWN, CAP_MKNOD and CAP_SETFCAP",
};
