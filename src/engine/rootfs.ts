import { chownSync, mkdirSync } from "node:fs";
import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, statat } from "../linux/file.ts";
import type { Rootfs } from "../runtime/rootfs.ts";
import { readRootFile } from "../security/root-file.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { isHostImage } from "./host-image.ts";

/** The directories of a container's root, top first: its own, then the image's. */
export function layersOf(ctx: Context, container: Container): { upper: string; lower: string[] } {
  return {
    upper: ctx.paths.inContainer(container.id, "upper"),
    lower: ctx.images.find(container.record.imageId).layers,
  };
}

/** Makes the writable layer, if this is the first start, and says what to mount. */
export function prepareRootfs(ctx: Context, container: Container): Rootfs {
  const { id, record } = container;
  const { upper, lower } = layersOf(ctx, container);
  const work = ctx.paths.inContainer(id, "work");
  mkdirSync(work, { recursive: true, mode: 0o700 });
  // The upper directory's own mode and owner become those of the container's `/`.
  mkdirSync(upper, { recursive: true, mode: 0o755 });
  if (record.userns) chownSync(upper, record.userns.hostID, record.userns.hostID);
  return {
    kind: "overlay",
    lower,
    upper,
    work,
    volatile: record.host.AutoRemove === true,
    ...(isHostImage(record.imageId) ? { hide: [ctx.paths.dataRoot, ctx.paths.execRoot] } : {}),
  };
}

/** Reads files of a root that is not mounted: the topmost layer that has the path decides. Hostile images are expected. */
export function lookupIn(layers: readonly string[]): (path: string) => string | undefined {
  return (path) => {
    for (const layer of layers) {
      const found = inLayer(layer, path);
      if (found !== "next") return found.text;
    }
    return undefined;
  };
}

/** Owner and mode of a directory of the image; undefined if it has none there. */
export function directoryIn(
  layers: readonly string[],
  path: string,
): { mode: number; uid: number; gid: number } | undefined {
  for (const layer of layers) {
    const root = openat(k.AT_FDCWD, layer, k.O_PATH | k.O_DIRECTORY);
    try {
      const fd = openat2(root, path, k.O_PATH | k.O_DIRECTORY, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
      const { mode, uid, gid } = statat(fd, "");
      close(fd);
      return { mode: mode & 0o7777, uid, gid };
    } catch (error) {
      if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw error;
    } finally {
      close(root);
    }
  }
  return undefined;
}

function inLayer(layer: string, path: string): "next" | { text: string | undefined } {
  let root: number;
  try {
    root = openat(k.AT_FDCWD, layer, k.O_PATH | k.O_DIRECTORY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "next";
    throw error;
  }
  try {
    const fd = openat2(root, path, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    try {
      const { mode, rdevMajor, rdevMinor } = statat(fd, "");
      const whiteout = (mode & k.S_IFMT) === k.S_IFCHR && rdevMajor === 0 && rdevMinor === 0;
      return { text: whiteout ? undefined : readRootFile(root, path) };
    } finally {
      close(fd);
    }
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return "next";
    throw error;
  } finally {
    close(root);
  }
}
