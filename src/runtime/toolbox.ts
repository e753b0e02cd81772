import * as k from "../linux/constants.ts";
import { type Builder, FD } from "./builder.ts";

/**
 * Where a debugging process has its tools: nobody needs what is there (proc(5): nothing but what old drivers made), every
 * procfs has it, and so nothing is made in the container's files for it to see.
 */
export const TOOLS_PLACE = "/proc/driver";

/** Tools, mounted nowhere yet: descriptors, which the spawned process finds from FD.kept on, `files` first. */
export interface Toolbox {
  /** A file system with `bin`, and places for the others. */
  files: number;
  /** What is mounted in it, by path. */
  trees: readonly { at: string; fd: number }[];
}

/**
 * Mounts tools for this process and its children alone, in a mount namespace of its own, of which nothing reaches the
 * container's. Nobody can write to them, and what is setuid in them is not.
 */
export function mountTools(p: Builder, places: readonly string[]): void {
  const why = "debug: tools in a mount namespace of its own";
  p.call(why, "unshare", [k.CLONE_NEWNS]);
  p.call(why, "mount", [0, p.text("/"), 0, k.MS_REC | k.MS_SLAVE, 0]);
  const directory = k.O_PATH | k.O_DIRECTORY;
  const place = p.temporary("place of the tools");
  p.call(why, "openat2", [k.AT_FDCWD, p.text(TOOLS_PLACE), p.how(directory, k.RESOLVE_NO_SYMLINKS), 24], {
    into: place,
  });
  const set = k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV;
  for (const [i, at] of ["", ...places].entries()) {
    const tree = FD.kept + i;
    p.setAttributes(why, tree, { set, propagation: k.MS_PRIVATE, recursive: true });
    if (at === "") p.attach(why, tree, place);
    else {
      const below = p.temporary(at);
      p.call(why, "openat2", [FD.kept, p.text(at), p.how(directory, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS), 24], {
        into: below,
      });
      p.attach(why, tree, below);
    }
  }
}
