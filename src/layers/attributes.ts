import { SysError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { chmod, chownat, getxattr, listxattr, type Stat, setxattr, statat } from "../linux/file.ts";
import { inUserNamespace } from "../linux/rights.ts";

/**
 * What marks an opaque directory (`y`) for the overlays that this process mounts: in a user namespace they are mounted with
 * `userxattr` (overlayfs.rst, "User xattr"), since trusted.* is the machine's root's.
 */
export const OPAQUE = inUserNamespace() ? "user.overlay.opaque" : "trusted.overlay.opaque";

/** Owner, mode and xattrs of a file in a layer. */
export interface Attributes {
  uid: number;
  gid: number;
  /** Permission bits: 0..07777. */
  mode: number;
  xattrs: ReadonlyMap<string, Uint8Array>;
}

/** The attributes of a directory that no layer says anything about. */
export const PLAIN_DIRECTORY: Attributes = { uid: 0, gid: 0, mode: 0o755, xattrs: new Map() };

/**
 * Attributes that go from archives to files and back. Not `trusted.overlay.*` and `user.overlay.*`, with which an
 * archive could forge what overlayfs reads (redirects into other layers among them), and nothing else that
 * means something only where the archive was made, such as SELinux labels.
 */
export function isPortableXattr(name: string): boolean {
  if (name.startsWith("user.")) return !name.startsWith("user.overlay.");
  return name === "security.capability" || name === "system.posix_acl_access" || name === "system.posix_acl_default";
}

/** Sets all three on an open file or directory (not O_PATH). Where the file system has no xattrs, those are left out. */
export function setAttributes(fd: number, { uid, gid, mode, xattrs }: Attributes): void {
  chownat(fd, "", uid, gid);
  // After chown, which clears setuid and setgid; before the ACLs, which chmod would change.
  chmod(fd, mode);
  // After chown as well, which removes security.capability.
  for (const [name, value] of xattrs) {
    if (!isPortableXattr(name)) continue;
    try {
      setxattr(fd, name, value);
    } catch (error) {
      if (!(error instanceof SysError && error.code === "EOPNOTSUPP")) throw error;
    }
  }
}

/** `fd` may be O_PATH, but not of a symlink. */
export function readXattrs(fd: number): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const name of listxattr(fd).sort()) {
    const value = isPortableXattr(name) ? getxattr(fd, name) : undefined;
    if (value) xattrs.set(name, value);
  }
  return xattrs;
}

/** `fd` may be O_PATH, but not of a symlink. */
export function readAttributes(fd: number, stat: Stat = statat(fd, "")): Attributes {
  return { uid: stat.uid, gid: stat.gid, mode: stat.mode & ~k.S_IFMT, xattrs: readXattrs(fd) };
}
