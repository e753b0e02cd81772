import { existsSync, statSync } from "node:fs";
import * as k from "../linux/constants.ts";
import type { Builder } from "./builder.ts";
import { READ_ONLY } from "./rootfs.ts";

/** What a path of proc or sysfs is on this kernel; undefined for any other, whose kind only the rows can find out. */
export type Kind = "directory" | "file" | "missing" | undefined;

/**
 * proc and sysfs are the same in every container, but for processes, so it is enough to look at the host's. One that was
 * mounted with subset=pid shows too little to tell.
 */
export function kernelPath(path: string): Kind {
  const known = kinds.get(path);
  if (known) return known;
  if (!SAME_EVERYWHERE.test(path) || path.includes("..") || !hostShowsAll()) return undefined;
  const kind = kindOf(path);
  // What is missing may come with a module.
  if (kind !== "missing") kinds.set(path, kind);
  return kind;
}

/** The host's own proc is not one that was mounted with subset=pid. */
function hostShowsAll(): boolean {
  showsAll ??= existsSync("/proc/sys");
  return showsAll;
}
let showsAll: boolean | undefined;

/** Below proc or sysfs, and not a process's. */
const SAME_EVERYWHERE = /^\/(sys|proc(?!\/+(\d|self|thread-self)))\//;

const kinds = new Map<string, Kind>();

function kindOf(path: string): Kind {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? "missing" : stat.isDirectory() ? "directory" : "file";
  } catch {
    // Too long, or in a circle: an error of its row.
    return undefined;
  }
}

/** `linux.readonlyPaths`: each a copy of itself, its flags kept, that cannot be written; one that is missing is skipped. */
export function readonlyPaths(p: Builder, paths: readonly string[]): void {
  for (const path of paths) {
    const why = `linux.readonlyPaths ${path}`;
    if (kernelPath(path) === "missing") continue;
    const skip = p.label(`no ${path}`);
    const place = p.inRoot(why, path, k.O_PATH, { ignore: ["ENOENT", "ENOTDIR"] });
    p.branch(why, place, "at most", -1, skip);
    const copy = p.copyMount(why, place, "", k.AT_RECURSIVE);
    p.setAttributes(why, copy, { set: k.MOUNT_ATTR_RDONLY, recursive: true });
    p.attach(why, copy, place);
    p.place(skip);
  }
}

/** `linux.maskedPaths`: /dev/null over a file, an empty read-only tmpfs over a directory, with `linux.mountLabel`. */
export function maskedPaths(p: Builder, paths: readonly string[], label: string | undefined): void {
  if (paths.length === 0) return;
  const null_ = p.slot("null");
  // The host's, which is still in sight: the container's own may be anything by now (CVE-2025-31133).
  const device = [k.AT_FDCWD, p.text("/dev/null"), k.O_PATH | k.O_NOFOLLOW | k.O_CLOEXEC, 0];
  p.call("linux.maskedPaths", "openat", device, { into: null_ });
  for (const path of paths) {
    const why = `linux.maskedPaths ${path}`;
    const kind = kernelPath(path);
    if (kind === "missing") continue;
    const done = p.label(`${path} done`);
    const place = p.inRoot(why, path, k.O_PATH, { ignore: ["ENOENT", "ENOTDIR"] });
    p.branch(why, place, "at most", -1, done);
    if (kind !== "directory") {
      const copy = p.copyMount(why, null_, "", 0);
      const attached = p.temporary("masked");
      // move_mount(2) answers EINVAL where one is a directory and the other a file.
      p.attach(why, copy, place, kind === "file" ? { into: attached } : { ignore: ["EINVAL"], into: attached });
      if (kind === undefined) p.branch(why, attached, "equal", 0, done);
    }
    if (kind !== "file") {
      const limits = [["nr_blocks", "1"], ["nr_inodes", "1"], ...(label ? [["context", label] as const] : [])] as const;
      p.attach(why, p.newMount(why, "tmpfs", "tmpfs", limits, READ_ONLY), place);
    }
    p.place(done);
  }
}
