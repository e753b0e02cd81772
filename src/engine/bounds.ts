import { posix } from "node:path";
import { InroError, invalid, notFound } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2 } from "../linux/file.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import type { Bounds } from "./requests.ts";
import type { VolumeRecord } from "./store.ts";

/**
 * A container's mounts within bounds: volumes that carry the labels, or will; binds below the directories, each bound to
 * its own for good. Throws forbidden for a bind elsewhere, and notFound for a volume without the labels.
 */
export function boundMounts(
  mounts: readonly PlannedMount[],
  { labels, directories }: Bounds,
  volume: (name: string) => VolumeRecord | undefined,
): PlannedMount[] {
  return mounts.map((mount): PlannedMount => {
    if (mount.type !== "bind" && mount.type !== "volume") return mount;
    if (mount.type === "bind") {
      const beneath = directories.find((one) => isBelow(mount.source, one));
      if (beneath === undefined)
        throw new InroError("forbidden", `a mount of the host's ${mount.source} is not allowed`);
      return { ...mount, beneath, createSource: false };
    }
    if (mount.driverOptions && Object.keys(mount.driverOptions).length > 0) {
      throw new InroError("forbidden", "volume driver options are not allowed");
    }
    const known = mount.source === "" ? undefined : volume(mount.source);
    if (!known) return { ...mount, labels: { ...mount.labels, ...labels } };
    const missing = Object.entries(labels).some(([key, value]) => known.labels[key] !== value);
    if (missing || Object.keys(known.options ?? {}).length > 0) throw notFound(`get ${mount.source}: no such volume`);
    return mount;
  });
}

/**
 * Opens a bind source that must stay below `beneath`, wherever symlinks on the way lead by now: whoever may write there
 * could make one to anywhere (CVE-2021-25741, for volumes). The caller closes the descriptor.
 */
export function openBeneath(beneath: string, source: string): number {
  const root = openat(k.AT_FDCWD, beneath, k.O_PATH | k.O_DIRECTORY);
  try {
    const rest = posix.relative(beneath, source) || ".";
    return openat2(root, rest, k.O_PATH, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_MAGICLINKS);
  } catch (error) {
    const { code } = error as { code?: string };
    const why = code === "EXDEV" ? `a symlink on the way leads out of ${beneath}` : code;
    throw invalid(`invalid mount config for type "bind": bind source path ${source}: ${why}`, error);
  } finally {
    close(root);
  }
}

/** Whether a clean absolute path is `directory`, or in it. */
export function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}
