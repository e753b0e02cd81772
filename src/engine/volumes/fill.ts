import { chmodSync, chownSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../base/errors.ts";
import { copyInChild } from "../../layers/apply-command.ts";
import type { CopyRequest } from "../../layers/copy-directory.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, openat2, readdir, type Stat, statat } from "../../linux/file.ts";
import type { PlannedMount } from "../config/mount-plan.ts";
import type { Container } from "../container.ts";
import { isHostImage } from "../host-image.ts";
import { layersOf } from "../rootfs.ts";
import type { Volumes } from "../volumes.ts";
import { localVolume } from "./local-options.ts";

/**
 * Before its first start: what the image has where a volume is mounted goes into the volume, if that is empty. Until the
 * copy is whole nothing of it is in the volume, so that a crash leaves no half of it. The pseudo-image host gives only
 * owner and mode: a copy of the machine's directories is not what a volume is for.
 */
export async function fillVolumes(volumes: Volumes, container: Container): Promise<void> {
  for (const mount of container.record.mounts) {
    if (mount.type !== "volume" || mount.noCopy || mount.subpath) continue;
    await fill(volumes, container, mount);
  }
}

async function fill(
  volumes: Volumes,
  container: Container,
  { source: name, destination }: PlannedMount,
): Promise<void> {
  const record = volumes.ctx.store.volume(name);
  const local = localVolume(record?.options);
  if (record?.snapshotOf !== undefined || (local.kind !== "directory" && local.kind !== "bind")) return;
  const data = local.kind === "bind" ? local.device : volumes.makeDirectory(name);
  if (!isEmpty(data)) return;
  const { lower } = layersOf(volumes.ctx, container);
  const covered = directoryIn(lower, destination);
  if (!covered) return;
  if (covered.empty || isHostImage(container.record.imageId)) {
    if (local.kind === "bind") return;
    chownSync(data, covered.stat.uid, covered.stat.gid);
    chmodSync(data, covered.stat.mode & 0o7777);
    return;
  }
  // Two at once would meet in the middle.
  for (let other = volumes.filling.get(name); other; other = volumes.filling.get(name)) await other.catch(() => {});
  if (!isEmpty(data)) return;
  const request: CopyRequest = {
    from: { layers: lower, path: destination },
    to: data,
    options: { what: `copy ${destination} of the image into volume ${name}`, layer: true },
  };
  // Whoever has the directory mounted would keep the empty one.
  const inPlace = local.kind === "bind" || volumes.containersOf(name).some(({ isRunning }) => isRunning);
  const filling = inPlace ? copyInChild(request) : replaceBy(volumes, name, request);
  volumes.filling.set(name, filling);
  try {
    await filling;
  } finally {
    volumes.filling.delete(name);
  }
}

async function replaceBy(volumes: Volumes, name: string, request: CopyRequest): Promise<void> {
  const fresh = join(volumes.ctx.paths.volume(name), "_data.new");
  // What a crash left of an earlier try.
  volumes.ctx.trash.discard(fresh);
  await copyInChild({ ...request, to: fresh });
  renameSync(fresh, request.to);
}

function isEmpty(directory: string): boolean {
  try {
    return readdirSync(directory).length === 0;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return false;
    throw error;
  }
}

/** A directory of an image, and whether no layer has anything in it; undefined if there is none. */
function directoryIn(layers: readonly string[], path: string): { stat: Stat; empty: boolean } | undefined {
  let stat: Stat | undefined;
  for (const layer of layers) {
    const root = openat(k.AT_FDCWD, layer, k.O_PATH | k.O_DIRECTORY);
    let fd: number | undefined;
    try {
      fd = openat2(root, path, k.O_RDONLY | k.O_DIRECTORY, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
      stat ??= statat(fd, "");
      for (const _ of readdir(fd)) return { stat, empty: false };
    } catch (error) {
      if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw error;
    } finally {
      close(root);
      if (fd !== undefined) close(fd);
    }
  }
  return stat && { stat, empty: true };
}
