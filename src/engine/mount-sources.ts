import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2 } from "../linux/file.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import type { Container } from "./container.ts";
import { directoryIn } from "./rootfs.ts";
import type { Volumes } from "./volumes.ts";

/** Mounts whose sources are host paths that exist; `close` lets go of what keeps them valid, after the launch. */
export interface MountSources {
  mounts: PlannedMount[];
  close(): void;
}

/** Makes volume directories and bind sources as the plan allows. A missing source is invalid, in docker's words. */
export function mountSources(volumes: Volumes, container: Container, layers: readonly string[]): MountSources {
  const open: number[] = [];
  const closeAll = () => {
    for (const fd of open.splice(0)) close(fd);
  };
  try {
    const mounts = container.record.mounts.map((mount): PlannedMount => {
      if (mount.type === "tmpfs") return mount;
      if (mount.type === "bind") return bindSource(mount);
      const data = volumes.makeDirectory(mount.source);
      if (!mount.noCopy && readdirSync(data).length === 0) adoptOwner(data, directoryIn(layers, mount.destination));
      if (!mount.subpath) return { ...mount, source: data };
      const fd = openSubpath(data, mount.subpath);
      open.push(fd);
      return { ...mount, source: `/proc/${process.pid}/fd/${fd}` };
    });
    return { mounts, close: closeAll };
  } catch (error) {
    closeAll();
    throw error;
  }
}

function bindSource(mount: PlannedMount): PlannedMount {
  try {
    statSync(mount.source);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw invalid(`bind source ${mount.source}: ${codeOf(error)}`, error);
    if (!mount.createSource) {
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`);
    }
    mkdirSync(mount.source, { recursive: true });
  }
  return mount;
}

/** An empty volume gets owner and mode of what it covers, so that the image's user can write to it. */
function adoptOwner(data: string, covered: ReturnType<typeof directoryIn>): void {
  if (!covered) return;
  chownSync(data, covered.uid, covered.gid);
  chmodSync(data, covered.mode);
}

/** A descriptor, not a path: whoever writes to the volume could put a symlink there after the check (CVE-2021-25741). */
function openSubpath(data: string, subpath: string): number {
  const root = openat(k.AT_FDCWD, data, k.O_PATH | k.O_DIRECTORY);
  try {
    return openat2(root, subpath, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
  } catch (error) {
    throw invalid(`cannot access path ${subpath} in the volume: ${codeOf(error)}`, error);
  } finally {
    close(root);
  }
}
