import { posix } from "node:path";
import { codeOf } from "../../../base/errors.ts";
import { openLayers } from "../../../layers/copy-directory.ts";
import { toName } from "../../../layers/entry-path.ts";
import * as k from "../../../linux/constants.ts";
import { close, openat2, readlinkat, type Stat, statat } from "../../../linux/file.ts";
import type { Root } from "./work.ts";

const IN_ROOT = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;
/** Names that lead nowhere: what is there may be made by whoever looked. */
const NOWHERE = ["ENOENT", "ENOTDIR", "ELOOP"];

/** What a path leads to in a root. `path` has no symlinks; names are "binary" strings (layers/entry-path.ts). */
export interface Found {
  readonly path: string;
  readonly stat: Stat;
}

/** A root that nobody changes, by descriptor: whatever its symlinks say, nothing outside of it is ever opened. */
export class OpenRoot {
  readonly fd: number | undefined;
  readonly #prefix: string;

  constructor(root: Root) {
    this.fd = root.length === 0 ? undefined : openLayers(root);
    this.#prefix = this.fd === undefined ? "/" : placeOf(this.fd);
  }

  close(): void {
    if (this.fd !== undefined) close(this.fd);
  }

  /** What `path` leads to, symlinks followed; undefined when that is nothing. */
  find(path: string): Found | undefined {
    const fd = this.#tryOpen(path, k.O_PATH, IN_ROOT);
    if (fd === undefined) return undefined;
    try {
      return { path: posix.resolve("/", posix.relative(this.#prefix, placeOf(fd))), stat: statat(fd, "") };
    } finally {
      close(fd);
    }
  }

  /** What is at `path`, which has no symlinks but perhaps the last name, which is not followed. */
  entry(path: string): Stat | undefined {
    const fd = this.#tryOpen(path, k.O_PATH | k.O_NOFOLLOW, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS);
    if (fd === undefined) return undefined;
    try {
      return statat(fd, "");
    } finally {
      close(fd);
    }
  }

  /** Opens what is at `path`, following nothing. The caller closes it. */
  open(path: string, flags: number): number {
    return openat2(
      this.fd!,
      toName(relative(path)),
      flags | k.O_NOFOLLOW,
      0,
      k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS,
    );
  }

  #tryOpen(path: string, flags: number, resolve: number): number | undefined {
    if (this.fd === undefined) return undefined;
    try {
      return openat2(this.fd, toName(relative(path)), flags, 0, resolve);
    } catch (error) {
      if (NOWHERE.includes(codeOf(error) ?? "")) return undefined;
      throw error;
    }
  }
}

const relative = (path: string) => path.replace(/^\/+/, "") || ".";

const placeOf = (fd: number) => readlinkat(k.AT_FDCWD, `/proc/self/fd/${fd}`).toString("latin1");
