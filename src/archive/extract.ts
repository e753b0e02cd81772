import { codeOf, invalid, SysError } from "../base/errors.ts";
import { isPortableXattr, PLAIN_DIRECTORY, setAttributes } from "../layers/attributes.ts";
import { type Component, entryPath, linkPath, toName, toText } from "../layers/entry-path.ts";
import { type IdRange, toHost } from "../layers/owners.ts";
import { removeTree } from "../layers/remove-tree.ts";
import { type TarEntry, TarParser } from "../layers/tar-read.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import {
  chmod,
  chownat,
  close,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  openat,
  openat2,
  statat,
  symlinkat,
  unlinkat,
  utimensat,
} from "../linux/file.ts";
import { explained } from "./extract-error.ts";
import { writeSparse } from "./sparse.ts";
import { DIRECTORY, STRICT, TargetDirectories } from "./target-directories.ts";

export interface ExtractOptions {
  /** A descriptor that symlinks resolve in. */
  root: number;
  /** The directory to extract into, below it; its own symlinks are followed. */
  into: string;
  /**
   * A symlink on the way to an entry is followed, inside `root`: what an archive of another tree may ask for. Without it
   * one is an error.
   */
  follow: boolean;
  /**
   * "archive": as the archive says. "ours": the files are this process's own, setuid and setgid go, and so do devices,
   * which nobody else could have made.
   */
  owner: "archive" | "ours" | { uid: number; gid: number };
  /** The ids of the archive are those of this user namespace. */
  ids?: IdRange | undefined;
  /** A directory is not replaced by what is none, and the other way round: that is an error. */
  noOverwriteDirNonDir: boolean;
  /** The name of an entry, and of a hard link's target, in place of the archive's. */
  rename?(name: Buffer): Buffer;
  /** What is left out, in words. */
  warn?(message: string): void;
}

/**
 * Writes the entries of a tar into a directory that others may be changing meanwhile. Feed it with {@link push}, then
 * {@link finish}; always {@link close}. What is there is merged with if both are directories, and replaced if not; no
 * file is ever opened that this did not make. Everything is found by descriptors below `root`, whatever the archive says
 * and whoever turns directories into symlinks (CVE-2018-15664). Errors are InroError and name the entry; what was
 * written by then stays, as in docker.
 *
 * Opening: a missing directory is notFound, another file invalid, a read-only file system forbidden.
 */
export class Extractor {
  readonly #parser = new TarParser();
  readonly #directories: TargetDirectories;
  /** What directories get when nothing is written in them any more. */
  readonly #entries: { path: Component[]; mtime: bigint; mode: number }[] = [];
  #entry: TarEntry | undefined;
  #file = -1;
  #hole = false;

  constructor(private readonly options: ExtractOptions) {
    this.#directories = new TargetDirectories(options, (fd) => this.#plain(fd));
  }

  push(chunk: Uint8Array): void {
    for (const event of this.#parser.push(chunk)) {
      if ("data" in event) this.#guard(() => this.#data(event.data));
      else if ("entry" in event) {
        this.#entry = event.entry;
        this.#guard(() => this.#begin(event.entry));
      } else this.#guard(() => this.#end());
    }
  }

  /** The archive has ended. Directories get their times and modes. */
  finish(): void {
    this.#parser.end();
    this.#entry = undefined;
    for (const { path, mtime, mode } of this.#entries.reverse()) {
      const fd = this.#directories.find(path);
      if (fd === undefined) continue;
      this.#guard(() => {
        if (this.options.owner === "ours") chmod(fd, mode);
        utimensat(fd, "", mtime, mtime);
      });
    }
  }

  close(): void {
    if (this.#file >= 0) close(this.#file);
    this.#file = -1;
    this.#directories.close();
  }

  #begin(entry: TarEntry): void {
    const { rename } = this.options;
    const path = entryPath(rename ? rename(entry.nameBytes) : entry.nameBytes);
    const name = path.pop();
    // The directory itself keeps what it has.
    if (name === undefined) return;
    const device = entry.type === "char" || entry.type === "block";
    if (device && this.options.owner === "ours") {
      this.options.warn?.(`${JSON.stringify(entry.name)} is a device, and left out`);
      return;
    }
    const parent = this.#directories.ensure(path);
    const existing = tryStat(parent, name);
    if (existing !== undefined) {
      const merge = (existing & k.S_IFMT) === k.S_IFDIR && entry.type === "directory";
      if (!merge) this.#replace(parent, name, existing, entry);
    }
    this.#make(parent, path, name, entry);
  }

  #replace(parent: number, name: Component, mode: number, entry: TarEntry): void {
    const there = (mode & k.S_IFMT) === k.S_IFDIR;
    if (this.options.noOverwriteDirNonDir) {
      const into = JSON.stringify(this.options.into);
      if (there) throw invalid(`cannot overwrite directory "${toText(name)}" with non-directory in ${into}`);
      if (entry.type === "directory")
        throw invalid(`cannot overwrite non-directory "${toText(name)}" with directory in ${into}`);
    }
    if (there) removeTree(parent, toName(name));
    else unlinkat(parent, toName(name));
    this.#directories.forget(parent);
  }

  #make(parent: number, above: Component[], component: Component, entry: TarEntry): void {
    const name = toName(component);
    switch (entry.type) {
      case "directory": {
        try {
          mkdirat(parent, name, 0o700);
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error;
        }
        const fd = openat2(parent, name, DIRECTORY | k.O_NOFOLLOW, 0, STRICT);
        try {
          this.#attributes(fd, entry);
          // A plain user has to get into what it makes.
          if (this.options.owner === "ours") chmod(fd, this.#mode(entry) | 0o700);
        } finally {
          close(fd);
        }
        const path = [...above, component];
        this.#entries.push({ path, mtime: entry.mtime, mode: this.#mode(entry) });
        return;
      }
      case "file":
        // O_EXCL: never an existing file, which could be a device, or a symlink that has just been put there.
        this.#file = openat(parent, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o600);
        this.#hole = false;
        return;
      case "hardlink":
        this.#link(parent, name, entry);
        return;
      case "symlink": {
        if (entry.linknameBytes.length === 0) throw invalid("a symlink without a target");
        symlinkat(entry.linknameBytes, parent, name);
        this.#chown(parent, name, entry);
        utimensat(parent, name, entry.mtime, entry.mtime);
        return;
      }
      default: {
        const { devMajor, devMinor } = entry;
        if (devMajor > 0xfff || devMinor > 0xfffff) throw invalid(`device ${devMajor}:${devMinor} is out of range`);
        const format = entry.type === "fifo" ? k.S_IFIFO : entry.type === "char" ? k.S_IFCHR : k.S_IFBLK;
        mknodat(parent, name, format, makedev(devMajor, devMinor));
        this.#chown(parent, name, entry);
        const fd = openat(parent, name, k.O_PATH | k.O_NOFOLLOW);
        try {
          // Whoever has put another file there meanwhile must not have its mode changed through a link.
          if ((statat(fd, "").mode & k.S_IFMT) === format) chmod(fd, this.#mode(entry));
        } finally {
          close(fd);
        }
        utimensat(parent, name, entry.mtime, entry.mtime);
      }
    }
  }

  #link(parent: number, name: string | Buffer, entry: TarEntry): void {
    const { rename } = this.options;
    const target = linkPath(rename ? rename(entry.linknameBytes) : entry.linknameBytes);
    const last = toName(target.pop()!);
    const directory = this.#directories.find(target);
    const missing = () => invalid(`its target ${JSON.stringify(entry.linkname)} is not there`);
    if (directory === undefined) throw missing();
    try {
      // Without AT_SYMLINK_FOLLOW: a symlink as the target is linked itself.
      linkat(directory, last, parent, name);
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? missing() : error;
    }
  }

  #data(piece: Uint8Array): void {
    if (this.#file >= 0) this.#hole = writeSparse(this.#file, piece);
  }

  #end(): void {
    if (this.#file < 0) return;
    const entry = this.#entry!;
    if (this.#hole) sys("ftruncate", entry.name, this.#file, entry.size);
    this.#attributes(this.#file, entry);
    utimensat(this.#file, "", entry.mtime, entry.mtime);
    close(this.#file);
    this.#file = -1;
  }

  #attributes(fd: number, entry: TarEntry): void {
    const mode = this.#mode(entry);
    if (this.options.owner !== "ours") {
      setAttributes(fd, { ...this.#owner(entry), mode, xattrs: entry.xattrs });
      return;
    }
    chmod(fd, mode);
    // Capabilities of files are another's grant.
    const xattrs = [...entry.xattrs].filter(([name]) => isPortableXattr(name) && name.startsWith("user."));
    if (xattrs.length > 0) {
      const { uid, gid } = statat(fd, "");
      setAttributes(fd, { uid, gid, mode, xattrs: new Map(xattrs) });
    }
  }

  #mode(entry: TarEntry): number {
    return this.options.owner === "ours" ? entry.mode & 0o1777 : entry.mode;
  }

  #chown(parent: number, name: string | Buffer, entry: TarEntry): void {
    if (this.options.owner === "ours") return;
    const { uid, gid } = this.#owner(entry);
    chownat(parent, name, uid, gid);
  }

  #owner(entry: TarEntry): { uid: number; gid: number } {
    const { owner, ids } = this.options;
    const { uid, gid } = typeof owner === "object" ? owner : entry;
    return { uid: toHost(uid, ids), gid: toHost(gid, ids) };
  }

  /** A directory that no entry of the archive says anything about. */
  #plain(fd: number): void {
    if (this.options.owner === "ours") return;
    const { ids } = this.options;
    setAttributes(fd, { ...PLAIN_DIRECTORY, uid: toHost(0, ids), gid: toHost(0, ids) });
  }

  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      throw explained(error, this.#entry ? `extract ${JSON.stringify(this.#entry.name.slice(0, 300))}` : "extract");
    }
  }
}

function tryStat(directory: number, name: Component): number | undefined {
  try {
    return statat(directory, toName(name)).mode;
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return undefined;
    throw error;
  }
}
