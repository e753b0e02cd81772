import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, getxattr, openat, setxattr } from "../linux/file.ts";
import { inUserNamespace } from "../linux/rights.ts";

/** On a cgroup's directory, as long as it exists: who made it. Only the host's root, or the one user, may write it. */
const OWNER = inUserNamespace() ? "user.inro.owner" : "trusted.inro.owner";

/** Marks a cgroup directory as that of `owner`, by which {@link ownerOf} tells the cgroups of several engines apart. */
export function markOwner(directory: string, owner: string): void {
  const fd = openat(k.AT_FDCWD, directory, k.O_PATH | k.O_DIRECTORY);
  try {
    setxattr(fd, OWNER, Buffer.from(owner));
  } finally {
    close(fd);
  }
}

/** Undefined for one that nobody has marked, or that is gone. */
export function ownerOf(directory: string): string | undefined {
  let fd: number;
  try {
    fd = openat(k.AT_FDCWD, directory, k.O_PATH | k.O_DIRECTORY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return getxattr(fd, OWNER)?.toString();
  } finally {
    close(fd);
  }
}
