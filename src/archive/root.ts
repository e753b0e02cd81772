import { SysError } from "../base/errors.ts";
import { sys, trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str } from "../linux/ffi.ts";
import { openat } from "../linux/file.ts";

/**
 * An O_PATH descriptor of the root directory of a mount namespace, which `namespace` is a descriptor of. That root is
 * the namespace's own: a process in it that has called chroot(2) changes nothing.
 *
 * The thread is in the namespace for one openat(2), and for nothing else: no library and no code of the container's is
 * ever looked up there (CVE-2019-14271). For a process of its own: the thread's root is its alone from here on.
 */
export function rootOf(namespace: number): number {
  const directory = k.O_PATH | k.O_DIRECTORY;
  const own = openat(k.AT_FDCWD, "/proc/self/ns/mnt", k.O_RDONLY);
  const home = openat(k.AT_FDCWD, "/", directory);
  // setns(2) refuses a thread that shares its root with others.
  sys("unshare", "CLONE_FS", k.CLONE_FS);
  return scratch(() => {
    const slash = str("/");
    const dot = str(".");
    const entered = trySys("setns", namespace, k.CLONE_NEWNS);
    const root = entered < 0 ? entered : trySys("openat", k.AT_FDCWD, slash, directory | k.O_CLOEXEC, 0);
    const back = trySys("setns", own, k.CLONE_NEWNS);
    const there = trySys("fchdir", home);
    const rooted = trySys("chroot", dot);
    for (const result of [back, there, rooted, root])
      if (result < 0) throw new SysError("setns", "mount namespace", -result);
    return root;
  });
}
