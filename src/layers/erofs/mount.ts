import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { scratch, str } from "../../linux/ffi.ts";
import { close } from "../../linux/file.ts";
import { detachedFilesystem } from "../../linux/mount.ts";
import { encodeImage } from "./image.ts";
import { plainDirectory } from "./tree.ts";

/**
 * An index over its tars, mounted nowhere (fsopen("erofs") with files instead of block devices, Linux 6.12). The
 * descriptor is the caller's to close. Errors are SysError.
 */
export function mountIndex(index: string, tars: readonly string[]): number {
  const open: number[] = [];
  // A string for fsconfig(2) is at most 255 bytes.
  const short = (path: string) => {
    if (Buffer.byteLength(path) <= 255) return path;
    open.push(openSync(path, "r"));
    return `/proc/self/fd/${open.at(-1)}`;
  };
  try {
    return detachedFilesystem(
      "erofs",
      short(index),
      tars.map((tar) => ["device", short(tar)] as const),
    );
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

/** What opens a detached mount by path, in this process and its children. */
export const pathOfMount = (fd: number) => `/proc/${process.pid}/fd/${fd}`;

/**
 * Whether layers may be kept without unpacking in `directory`: by doing it. Takes about a millisecond. Needs the
 * kernel's EROFS on files, an overlay on a detached mount, and a copy of such a mount (Linux 6.15), as root.
 */
export function canMountIndexes(directory: string): boolean {
  const home = join(directory, `tmp-probe-${process.pid}`);
  const fds: number[] = [];
  try {
    mkdirSync(home, { mode: 0o700 });
    const [tar, index] = [join(home, "tar"), join(home, "index")];
    const text = "inro";
    writeFileSync(tar, Buffer.concat([Buffer.from(text), Buffer.alloc(4096 - text.length)]));
    const root = plainDirectory();
    const { mode, uid, gid, mtime, xattrs } = root;
    root.children.set("f", { kind: "file", mode, uid, gid, mtime, xattrs, size: text.length, at: 0, device: 0 });
    writeFileSync(index, encodeImage(root, [4096], new Uint8Array(16)));
    const mount = mountIndex(index, [tar]);
    fds.push(mount);
    const path = pathOfMount(mount);
    const copy = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC;
    fds.push(scratch(() => sys("open_tree", path, k.AT_FDCWD, str(path), copy)));
    fds.push(
      detachedFilesystem("overlay", "overlay", [
        ["lowerdir+", path],
        ["lowerdir+", home],
      ]),
    );
    return readFileSync(`/proc/self/fd/${fds.at(-1)}/f`, "utf8") === text;
  } catch {
    return false;
  } finally {
    for (const fd of fds) close(fd);
    rmSync(home, { recursive: true, force: true });
  }
}
