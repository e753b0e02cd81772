import { chownSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { basename } from "node:path";
import { codeOf, SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, statat, tryOpenat2 } from "../linux/file.ts";
import { inUserNamespace } from "../linux/rights.ts";
import type { Rootfs } from "../runtime/rootfs.ts";
import { readRootFile } from "../security/root-file.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { hideIn } from "./hidden.ts";
import { isHostImage } from "./host-image.ts";
import { hostParts } from "./host-parts.ts";

/** The directories of a container's root, top first: its own, then the image's. */
export function layersOf(ctx: Context, { id, record }: Container): { upper: string; lower: readonly string[] } {
  const { layers } = ctx.images.find(record.imageId);
  return {
    upper: ctx.paths.inContainer(id, "upper"),
    lower: record.below === undefined ? layers : [ctx.paths.inContainer(record.below, "upper"), ...layers],
  };
}

/** Makes the directories of the writable layer, as far as they are not there. */
export function makeLayer(ctx: Context, { id, record }: Container): void {
  const upper = ctx.paths.inContainer(id, "upper");
  if (existsSync(upper)) return;
  made(ctx.paths.container(id), 0o700);
  made(ctx.paths.inContainer(id, "work"), 0o700);
  // Its own mode and owner become those of the container's `/`. Last, so that it says that all is there.
  const fresh = record.userns ? ctx.paths.inContainer(id, "upper.new") : upper;
  made(fresh, 0o755);
  if (!record.userns) return;
  chownSync(fresh, record.userns.hostID, record.userns.hostID);
  renameSync(fresh, upper);
}

/** Makes the writable layer, if that has not been done, and says what to mount. */
export function prepareRootfs(ctx: Context, container: Container): Rootfs {
  const { id, record } = container;
  const { upper, lower } = layersOf(ctx, container);
  const work = ctx.paths.inContainer(id, "work");
  makeLayer(ctx, container);
  for (const path of hiddenIn(ctx, container)) hideIn(upper, path);
  const mapped = record.below === undefined ? {} : { mapped: 1 };
  const whole = { kind: "overlay", lower, upper, work, ...mapped } as const;
  if (isHostImage(record.imageId) && inUserNamespace()) {
    const base = ctx.paths.inContainer(id, "root");
    return { ...whole, inParts: { base, parts: hostParts(base, upper, work, hiddenIn(ctx, container)) } };
  }
  return { ...whole, volatile: record.host.AutoRemove === true };
}

/** Directories of the machine that the container must not see. */
export function hiddenIn(ctx: Context, container: Container): string[] {
  return isHostImage(container.record.imageId) ? [ctx.paths.dataRoot, ctx.paths.execRoot] : [];
}

function made(path: string, mode: number): void {
  try {
    mkdirSync(path, mode);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/**
 * Reads files of a root that is not mounted: the topmost layer that has the path decides. Hostile images are expected.
 * `upper` may change at any time, the layers of an image never do, wherever they are mounted by now:
 * `imageId` is whose they are, if they are an image's.
 */
export function lookupIn(
  upper: string,
  lower: readonly string[],
  imageId: string | undefined,
): (path: string) => string | undefined {
  // The machine's own root is no layer of an image, and neither is another container's.
  const changes = (layer: string) => layer === "/" || basename(layer) === "upper";
  const changing = [upper, ...lower.filter(changes)];
  const fixed = lower.filter((layer) => !changes(layer));
  return (path) => {
    for (const layer of changing) {
      const found = inLayer(layer, path);
      if (found !== "next") return found.text;
    }
    return inImage(imageId, fixed, path);
  };
}

type Looked = "next" | { text: string | undefined };

/** What was found in images, oldest first. Some hundred containers of one image read the same passwd. */
const known = new Map<string, { text: string | undefined }>();
const MAX_KNOWN = 256;
const MAX_KNOWN_TEXT = 16 * 1024;

function inImage(imageId: string | undefined, layers: readonly string[], path: string): string | undefined {
  const key = `${imageId}\0${path}`;
  const before = imageId === undefined ? undefined : known.get(key);
  if (before) return before.text;
  let text: string | undefined;
  for (const layer of layers) {
    const found = inLayer(layer, path);
    if (found === "next") continue;
    text = found.text;
    break;
  }
  if (imageId !== undefined && (text?.length ?? 0) <= MAX_KNOWN_TEXT) {
    if (known.size === MAX_KNOWN) known.delete(known.keys().next().value!);
    known.set(key, { text });
  }
  return text;
}

function inLayer(layer: string, path: string): Looked {
  const root = tryOpenat2(k.AT_FDCWD, layer, k.O_PATH | k.O_DIRECTORY);
  if (root === -ENOENT) return "next";
  if (root < 0) throw new SysError("open", layer, -root);
  try {
    const fd = tryOpenat2(root, path, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    if (fd === -ENOENT || fd === -ENOTDIR || fd === -ELOOP) return "next";
    if (fd < 0) throw new SysError("open", path, -fd);
    try {
      const { mode, rdevMajor, rdevMinor } = statat(fd, "");
      const whiteout = (mode & k.S_IFMT) === k.S_IFCHR && rdevMajor === 0 && rdevMinor === 0;
      return { text: whiteout ? undefined : readRootFile(root, path) };
    } finally {
      close(fd);
    }
  } finally {
    close(root);
  }
}

const ENOENT = 2;
const ENOTDIR = 20;
const ELOOP = 40;
