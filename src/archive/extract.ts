import { codeOf, forbidden, InroError, invalid, messageOf, notFound, SysError } from "../base/errors.ts";
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
  writeAll,
} from "../linux/file.ts";
import { fileSystemOf } from "./kernel-files.ts";
import { IN_ROOT } from "./stat.ts";

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

const STRICT = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS | k.RESOLVE_NO_MAGICLINKS;
const DIRECTORY = k.O_RDONLY | k.O_DIRECTORY;
/** Blocks of zeros of this size are not written: what was sparse stays so. */
const HOLE = 4096;
const SEEK_CUR = 1;

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
  readonly #into: number;
  /** Directories by path, open: the last few. */
  readonly #open = new Map<string, number>();
  /** What directories get when nothing is written in them any more. */
  readonly #directories: { path: Component[]; mtime: bigint; mode: number }[] = [];
  #entry: TarEntry | undefined;
  #file = -1;
  #hole = false;

  constructor(private readonly options: ExtractOptions) {
    this.#into = openDirectory(options.root, options.into);
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
    for (const { path, mtime, mode } of this.#directories.reverse()) {
      const fd = this.#tryDirectory(path);
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
    this.#forget();
    close(this.#into);
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
    const parent = this.#ensure(path);
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
    this.#forget(parent);
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
        this.#directories.push({ path, mtime: entry.mtime, mode: this.#mode(entry) });
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
    const directory = this.#tryDirectory(target);
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
    if (this.#file < 0) return;
    for (let at = 0; at < piece.length; ) {
      const hole = isZero(piece, at);
      let end = at;
      do end = Math.min(end + HOLE, piece.length);
      while (end < piece.length && isZero(piece, end) === hole);
      if (hole) sys("lseek", `fd ${this.#file}`, this.#file, end - at, SEEK_CUR);
      else writeAll(this.#file, piece.subarray(at, end));
      this.#hole = hole;
      at = end;
    }
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

  /** The directory at `path`, made with its parents where missing. Valid until the next call. */
  #ensure(path: readonly Component[]): number {
    const existing = this.#tryDirectory(path);
    if (existing !== undefined) return existing;
    const above = path.slice(0, -1);
    const name = path.at(-1)!;
    const parent = this.#ensure(above);
    try {
      mkdirat(parent, toName(name), 0o755);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      throw invalid(`its parent ${JSON.stringify(toText(path.join("/")))} is not a directory`);
    }
    const made = openat2(parent, toName(name), DIRECTORY | k.O_NOFOLLOW, 0, STRICT);
    try {
      if (this.options.owner !== "ours") {
        const { ids } = this.options;
        setAttributes(made, { ...PLAIN_DIRECTORY, uid: toHost(0, ids), gid: toHost(0, ids) });
      }
    } catch (error) {
      close(made);
      throw error;
    }
    return this.#keep(path.join("/"), made);
  }

  #tryDirectory(path: readonly Component[]): number | undefined {
    if (path.length === 0) return this.#into;
    const key = path.join("/");
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const { follow, root, into } = this.options;
    try {
      return this.#keep(
        key,
        follow
          ? openat2(root, Buffer.concat([Buffer.from(`${into}/`), Buffer.from(key, "latin1")]), DIRECTORY, 0, IN_ROOT)
          : openat2(this.#into, toName(key), DIRECTORY, 0, STRICT),
      );
    } catch (error) {
      if (error instanceof SysError && ["ENOENT", "ENOTDIR"].includes(error.code)) return undefined;
      throw error;
    }
  }

  #keep(key: string, fd: number): number {
    if (this.#open.size >= OPEN_DIRECTORIES) {
      const [oldest, stale] = this.#open.entries().next().value!;
      close(stale);
      this.#open.delete(oldest);
    }
    this.#open.set(key, fd);
    return fd;
  }

  /** After a removal: the descriptors may be of what is gone. `keep` is in use. */
  #forget(keep?: number): void {
    for (const [key, fd] of this.#open) {
      if (fd === keep) continue;
      close(fd);
      this.#open.delete(key);
    }
  }

  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      throw explained(error, this.#entry ? `extract ${JSON.stringify(this.#entry.name.slice(0, 300))}` : "extract");
    }
  }
}

const OPEN_DIRECTORIES = 64;

function explained(error: unknown, where: string): InroError {
  const code = codeOf(error);
  const hint = HINTS[code ?? ""];
  const message = `${where}: ${messageOf(error)}${hint ? ` (${hint})` : ""}`;
  if (code === "EROFS") return forbidden(message);
  if (error instanceof InroError) return new InroError(error.kind, message, { cause: error });
  const theirs = !(error instanceof SysError) || ARCHIVE_ERRNO.has(error.code);
  return new InroError(theirs ? "invalid" : "internal", message, { cause: error });
}

/** What the archive or the tree it goes into is to blame for. */
const ARCHIVE_ERRNO = new Set(
  "ENAMETOOLONG ELOOP ENOTDIR EINVAL EISDIR EEXIST EXDEV EACCES EPERM EBUSY ENOTEMPTY ENOENT EOVERFLOW".split(" "),
);
const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the kernel takes 255 bytes a name and 4095 a path",
  ELOOP: "a symlink is in the way",
  EXDEV: "a symlink leads out of the directory",
  EBUSY: "something is mounted there",
  EROFS: "the file system is read-only",
};

function openDirectory(root: number, path: string): number {
  let fd: number;
  try {
    fd = openat2(root, path, DIRECTORY, 0, IN_ROOT);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOTDIR") throw invalid("extraction point is not a directory", error);
    if (code === "ENOENT") throw notFound(`no such directory: ${path}`, error);
    throw error instanceof SysError ? explained(error, `open ${path}`) : error;
  }
  if (!fileSystemOf(fd).readOnly) return fd;
  close(fd);
  throw forbidden(`cannot write to ${path}: the container's root or the volume there is marked read-only`);
}

function tryStat(directory: number, name: Component): number | undefined {
  try {
    return statat(directory, toName(name)).mode;
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The next block, as far as there are bytes. */
function isZero(bytes: Uint8Array, at: number): boolean {
  const end = Math.min(at + HOLE, bytes.length);
  for (let i = at; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}
