import { unavailable } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close } from "../linux/file.ts";
import { pidfdGetfd, pidfdOpen } from "../linux/process.ts";
import { FREE, LENT, withMember } from "./member.ts";

/**
 * A second mount of what another mount namespace has at `path`, attached nowhere: only a process in there may make one
 * (open_tree(2)), so one goes in. `path` is a directory, and no part of it a symlink, for the tree is a stranger's. The
 * descriptor is CLOEXEC and the caller's to close; unavailable where it cannot be had.
 */
export function borrowMount(namespace: number, path: string): number {
  const why = `a second mount of ${path}`;
  const failed = (code: string) => unavailable(`${why}: ${code}`);
  return withMember(
    "inro-borrow",
    (p) => {
      const how = [BigInt(k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC), 0n, BigInt(k.RESOLVE_NO_SYMLINKS)];
      const bytes = new Uint8Array(new BigUint64Array(how).buffer);
      p.call(why, "setns", [LENT, k.CLONE_NEWNS]);
      const place = p.result(why, "place", "openat2", [
        ...[k.AT_FDCWD, p.text(path), p.bytes(bytes, "no symlinks"), bytes.length],
      ]);
      const flags = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_EMPTY_PATH;
      const mount = p.result(why, "mount", "open_tree", [place, p.text(""), flags]);
      p.call(why, "dup3", [mount, FREE, k.O_CLOEXEC]);
    },
    { lent: namespace, failed },
    (pid) => {
      const pidfd = pidfdOpen(pid);
      try {
        return pidfdGetfd(pidfd, FREE);
      } finally {
        close(pidfd);
      }
    },
  );
}
