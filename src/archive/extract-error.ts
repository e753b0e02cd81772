import { codeOf, forbidden, InroError, messageOf, SysError } from "../base/errors.ts";

/** The error of an extraction, with where it happened and what may be done; its kind says who is to blame. */
export function explained(error: unknown, where: string): InroError {
  const code = codeOf(error);
  const hint = HINTS[code ?? ""];
  const message = `${where}: ${messageOf(error)}${hint ? ` (${hint})` : ""}`;
  if (code === "EROFS") return forbidden(message);
  if (error instanceof InroError) return new InroError(error.kind, message, { cause: error });
  const theirs = !(error instanceof SysError) || ARCHIVE_ERRNO.has(error.code);
  return new InroError(theirs ? "invalid" : "internal", message, { cause: error });
}

/** What the archive or the tree it goes into is to blame for. */
const ARCHIVE_ERRNO = new Set(
  "ENAMETOOLONG ELOOP ENOTDIR EINVAL EISDIR EEXIST EXDEV EACCES EPERM EBUSY ENOTEMPTY ENOENT EOVERFLOW".split(" "),
);
const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the kernel takes 255 bytes a name and 4095 a path",
  ELOOP: "a symlink is in the way",
  EXDEV: "a symlink leads out of the directory",
  EBUSY: "something is mounted there",
  EROFS: "the file system is read-only",
};
