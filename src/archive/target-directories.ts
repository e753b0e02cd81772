import { codeOf, forbidden, invalid, notFound, SysError } from "../base/errors.ts";
import { type Component, toName, toText } from "../layers/entry-path.ts";
import * as k from "../linux/constants.ts";
import { close, mkdirat, openat2 } from "../linux/file.ts";
import { explained } from "./extract-error.ts";
import { fileSystemOf } from "./kernel-files.ts";
import { IN_ROOT } from "./stat.ts";

/** Below one directory, through no symlink. */
export const STRICT = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS | k.RESOLVE_NO_MAGICLINKS;
export const DIRECTORY = k.O_RDONLY | k.O_DIRECTORY;

const OPEN_DIRECTORIES = 64;

/** The directories below the one that is extracted into, by path, open for the *at calls: the last few. */
export class TargetDirectories {
  readonly #into: number;
  readonly #open = new Map<string, number>();

  /** `made` hears of each that is made. A missing directory is notFound, another file invalid, a read-only one forbidden. */
  constructor(
    private readonly options: { root: number; into: string; follow: boolean },
    private readonly made: (fd: number) => void,
  ) {
    this.#into = openDirectory(options.root, options.into);
  }

  close(): void {
    this.forget();
    close(this.#into);
  }

  /** The directory at `path`, made with its parents where missing. Valid until the next call. */
  ensure(path: readonly Component[]): number {
    const existing = this.find(path);
    if (existing !== undefined) return existing;
    const above = path.slice(0, -1);
    const name = path.at(-1)!;
    const parent = this.ensure(above);
    try {
      mkdirat(parent, toName(name), 0o755);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      throw invalid(`its parent ${JSON.stringify(toText(path.join("/")))} is not a directory`);
    }
    const made = openat2(parent, toName(name), DIRECTORY | k.O_NOFOLLOW, 0, STRICT);
    try {
      this.made(made);
    } catch (error) {
      close(made);
      throw error;
    }
    return this.#keep(path.join("/"), made);
  }

  /** Undefined where there is none; a symlink where none is followed is an error. Valid until the next call but one. */
  find(path: readonly Component[]): number | undefined {
    if (path.length === 0) return this.#into;
    const key = path.join("/");
    const known = this.#open.get(key);
    if (known !== undefined) {
      // The least recently used goes first: a caller may still have the one before.
      this.#open.delete(key);
      this.#open.set(key, known);
      return known;
    }
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
  forget(keep?: number): void {
    for (const [key, fd] of this.#open) {
      if (fd === keep) continue;
      close(fd);
      this.#open.delete(key);
    }
  }
}

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
