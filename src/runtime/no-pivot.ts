import { readFileSync } from "node:fs";
import { unescapeOctal } from "../cgroups/hierarchy.ts";
import * as k from "../linux/constants.ts";
import type { Builder } from "./builder.ts";
import { READ_ONLY } from "./rootfs.ts";

/**
 * `--no-pivot`, for a machine whose root is an initramfs, which pivot_root(2) cannot leave: the container's root is moved
 * over `/` and entered by chroot(2). What is mounted elsewhere in the host's tree is detached, or in a user namespace,
 * which may not do that, covered; so one who uncovers `/` finds the files of the initramfs itself, and nothing else.
 */
export function planMove(mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): (p: Builder) => void {
  const others = mountsOfRoot(mountinfo);
  return (p) => {
    const why = "--no-pivot";
    const top = p.temporary("the host's root");
    p.call(why, "openat", [k.AT_FDCWD, p.text("/"), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0], { into: top });
    // First, as where it is now may be on one of the others.
    p.attach(why, p.root!, top);
    for (const path of others) {
      const gone = p.label(`${path} is gone`);
      const result = p.temporary(path);
      const flags = k.MNT_DETACH | k.UMOUNT_NOFOLLOW;
      p.call(why, "umount2", [p.text(path), flags], { ignore: "all", into: result });
      p.branch(why, result, "equal", 0, gone);
      // One that root of the user namespace has no way to, it cannot uncover either.
      const place = p.temporary(path);
      p.call(why, "openat", [k.AT_FDCWD, p.text(path), k.O_PATH | k.O_DIRECTORY | k.O_NOFOLLOW | k.O_CLOEXEC, 0], {
        ignore: ["ENOENT", "ENOTDIR", "EACCES"],
        into: place,
      });
      p.branch(why, place, "at most", -1, gone);
      p.attach(why, p.newMount(why, "tmpfs", "tmpfs", [["nr_inodes", "1"]], READ_ONLY), place);
      p.place(gone);
    }
    p.call(why, "fchdir", [p.root!]);
    p.call(why, "chroot", [p.text(".")]);
    p.call(why, "chdir", [p.text("/")]);
  };
}

/** Mount points of what lies on the root's own mount: with MNT_DETACH all that is below goes too. */
export function mountsOfRoot(mountinfo: string): string[] {
  const lines = mountinfo.split("\n").map((line) => line.split(" "));
  const root = lines.findLast(([, , , , path]) => path === "/")?.[0];
  const paths = lines
    .filter(([id, parent]) => parent === root && id !== root)
    .map(([, , , , path]) => unescapeOctal(path!));
  // Several on one point go one by one.
  return paths.filter((path) => path !== "/").toReversed();
}
