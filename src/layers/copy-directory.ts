import { mkdirSync } from "node:fs";
import { codeOf, InroError, unavailable } from "../base/errors.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { room, scratch } from "../linux/ffi.ts";
import { close, openat, openat2, statat } from "../linux/file.ts";
import { detachedFilesystem, PLAIN_OVERLAY } from "../linux/mount.ts";
import { type CopyOptions, copyAttributes, copyTree } from "../runtime/copy-up.ts";
import { syncFileSystem } from "./durable.ts";

export interface CopyRequest {
  /** Directories of an image's layers, top first, of which `path` is copied; a single one may be any directory. */
  from: { layers: readonly string[]; path: string };
  /** A directory, which is made if it is not there; it is empty. */
  to: string;
  options: Pick<CopyOptions, "reflink" | "live" | "layer"> & { what: string };
  /** All of it is on the disk when this is done. */
  durable?: boolean;
}

const NO_LIMITS = { entries: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER, depth: 4000 };

/**
 * Copies a directory with everything in it, and its own attributes last: they say that it is whole. Hostile content is
 * expected. A full disk is `unavailable`.
 */
export function copyDirectory({ from, to, options, durable }: CopyRequest): void {
  const root = openLayers(from.layers);
  let source: number | undefined;
  let target: number | undefined;
  try {
    raiseOpenFiles();
    const resolve = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;
    source = openat2(root, from.path, k.O_RDONLY | k.O_DIRECTORY, 0, resolve);
    mkdirSync(to, { recursive: true, mode: 0o700 });
    target = openat(k.AT_FDCWD, to, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    copyTree(source, target, { ...options, limits: NO_LIMITS });
    copyAttributes(source, target, statat(source, ""), options.layer);
    if (durable) syncFileSystem(to);
  } catch (error) {
    if (error instanceof InroError) throw error;
    const code = codeOf(error);
    if (code === "ENOSPC" || code === "EDQUOT") throw unavailable(`${options.what}: ${code}: no space is left`, error);
    throw error;
  } finally {
    for (const fd of [root, source, target]) if (fd !== undefined) close(fd);
  }
}

const RLIMIT_NOFILE = 7;

/** As many descriptors as may be: for deep trees. */
function raiseOpenFiles(): void {
  scratch(() => {
    const { address, view } = room(16);
    sys("prlimit64", "RLIMIT_NOFILE", 0, RLIMIT_NOFILE, 0, address);
    view.copy(view, 0, 8, 16);
    sys("prlimit64", "RLIMIT_NOFILE", 0, RLIMIT_NOFILE, address, 0);
  });
}

/** The root that layers make together, attached nowhere; the caller closes it. */
export function openLayers(layers: readonly string[]): number {
  if (layers.length === 1) return openat(k.AT_FDCWD, layers[0]!, k.O_PATH | k.O_DIRECTORY);
  const open: number[] = [];
  // A string for fsconfig(2) is at most 255 bytes.
  const short = (path: string) => {
    if (Buffer.byteLength(path) <= 255) return path;
    open.push(openat(k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY));
    return `/proc/self/fd/${open.at(-1)}`;
  };
  try {
    return detachedFilesystem("overlay", "overlay", [
      ...layers.map((layer): [string, string] => ["lowerdir+", short(layer)]),
      ...PLAIN_OVERLAY,
    ]);
  } finally {
    for (const fd of open) close(fd);
  }
}
