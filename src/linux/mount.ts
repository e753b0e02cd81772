import { sys } from "./call.ts";
import * as k from "./constants.ts";
import { scratch, str } from "./ffi.ts";
import { close } from "./file.ts";
import { inUserNamespace } from "./rights.ts";

/**
 * What every overlay is mounted with that shows layers as they are: nothing is elsewhere than where it lies. In a user
 * namespace only `userxattr` may be said, which says that too (overlayfs.rst, "User xattr").
 */
export const PLAIN_OVERLAY: readonly (readonly [key: string, value: string | undefined])[] = inUserNamespace()
  ? [["userxattr", undefined]]
  : [
      ["redirect_dir", "off"],
      ["metacopy", "off"],
    ];

/**
 * A new file system, mounted nowhere: fsopen(2), fsconfig(2), fsmount(2). The descriptor is CLOEXEC and the caller's to
 * close, and the file system goes with its last user. Errors are SysError.
 */
export function detachedFilesystem(
  type: string,
  source: string,
  data: readonly (readonly [key: string, value: string | undefined])[],
): number {
  const fs = scratch(() => sys("fsopen", type, str(type), k.FSOPEN_CLOEXEC));
  try {
    for (const [key, value] of [["source", source] as const, ...data]) {
      scratch(() => {
        if (value === undefined) sys("fsconfig", key, fs, k.FSCONFIG_SET_FLAG, str(key), 0, 0);
        else sys("fsconfig", `${key}=${value}`, fs, k.FSCONFIG_SET_STRING, str(key), str(value), 0);
      });
    }
    sys("fsconfig", type, fs, k.FSCONFIG_CMD_CREATE, 0, 0, 0);
    return sys("fsmount", type, fs, k.FSMOUNT_CLOEXEC, 0);
  } finally {
    close(fs);
  }
}
