import { lstatSync, readlinkSync } from "node:fs";
import { toolsInChild } from "../../archive/command.ts";
import { codeOf, invalid } from "../../base/errors.ts";
import { hostPlatform } from "../../images/platform.ts";
import { sys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { scratch, str } from "../../linux/ffi.ts";
import { close, mkdirat, statat, symlinkat } from "../../linux/file.ts";
import { detachedFilesystem } from "../../linux/mount.ts";
import { TOOLS_PLACE, type Toolbox } from "../../runtime/toolbox.ts";
import type { Context } from "../context.ts";
import { isHostImage } from "../host-image.ts";

/** Of this machine: programs and libraries, and neither /etc nor anybody's files, which a container could get at. */
const HOST_DIRECTORIES = ["usr", "bin", "sbin", "lib", "lib64"];

/**
 * The tools of an image, or of this machine (`host`), for {@link file://../../runtime/toolbox.ts}. The caller closes
 * them; what has been mounted stays. An image that is not here is notFound.
 */
export async function openToolbox(ctx: Context, image: string, signal: AbortSignal): Promise<Toolbox & Closable> {
  const open: number[] = [];
  const own = (fd: number) => {
    open.push(fd);
    return fd;
  };
  const closeAll = () => {
    for (const fd of open.splice(0)) close(fd);
  };
  try {
    const files = own(detachedFilesystem("tmpfs", "debug", [["mode", "755"]]));
    for (const name of ["bin", "root"]) mkdirat(files, name, 0o755);
    // Where programs look that find their own files by where they are themselves, as Python does.
    for (const name of ["lib", "share", "libexec"]) symlinkat(`root/usr/${name}`, files, name);
    if (isHostImage(image)) {
      const trees = hostTrees(files).map(({ at, fd }) => ({ at, fd: own(fd) }));
      const only = HOST_DIRECTORIES.map((name) => `/${name}`);
      await toolsInChild(files, undefined, { place: TOOLS_PLACE, only }, signal);
      return { files, trees, close: closeAll };
    }
    const { layers, config } = ctx.images.find(image);
    const { architecture } = hostPlatform();
    if (config.architecture !== architecture) {
      throw invalid(`the tools of ${image} are for ${config.architecture}, and this machine is ${architecture}`);
    }
    const root = own(layers.length === 1 ? copyMount(layers[0]!, 0) : overlay(layers));
    await toolsInChild(files, root, { place: TOOLS_PLACE }, signal);
    return { files, trees: [{ at: "root", fd: root }], close: closeAll };
  } catch (error) {
    closeAll();
    throw error;
  }
}

export interface Closable {
  close(): void;
}

/** Whether the toolbox has a command. */
export function hasTool({ files }: Toolbox, name: string): boolean {
  if (name === "" || name.includes("/") || name.includes("\0")) return false;
  try {
    statat(files, `bin/${name}`);
    return true;
  } catch {
    return false;
  }
}

function hostTrees(files: number): { at: string; fd: number }[] {
  return HOST_DIRECTORIES.flatMap((name) => {
    const at = `root/${name}`;
    const stat = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) symlinkat(readlinkSync(`/${name}`).replace(/^\//, ""), files, at);
    if (!stat?.isDirectory()) return [];
    mkdirat(files, at, 0o755);
    return [{ at, fd: copyMount(`/${name}`, k.AT_RECURSIVE) }];
  });
}

function copyMount(path: string, flags: number): number {
  return scratch(() => sys("open_tree", path, k.AT_FDCWD, str(path), k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | flags));
}

function overlay(layers: readonly string[]): number {
  try {
    return detachedFilesystem(
      "overlay",
      "overlay",
      layers.map((layer) => ["lowerdir+", layer] as const),
    );
  } catch (error) {
    if (codeOf(error) !== "EINVAL") throw error;
    throw invalid("tools from an image of several layers need Linux 6.5", error);
  }
}
