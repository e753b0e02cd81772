import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { invalid } from "../../base/errors.ts";
import { AT_FDCWD, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT } from "../../linux/constants.ts";
import { statat } from "../../linux/file.ts";

/** A node of the host's file system. Numbers are 0 for what is no device. */
export interface HostNode {
  type: "c" | "b" | "directory" | "other";
  major: number;
  minor: number;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}

/** The host's file system as the configuration needs it, so that tests can bring their own. */
export interface HostFiles {
  /** What a path is, symlinks followed; undefined if it is not there. */
  stat(path: string): HostNode | undefined;
  /** Names in a directory, without symlinks; empty if it cannot be read. */
  list(path: string): string[];
  /** Text of /proc/self/mountinfo. */
  mountinfo(): string;
}

export const hostFiles: HostFiles = {
  stat(path) {
    if (path.includes("\0")) throw invalid("path contains a NUL byte");
    try {
      const { mode, uid, gid, rdevMajor, rdevMinor } = statat(AT_FDCWD, realpathSync(path));
      const type = mode & S_IFMT;
      return {
        type: type === S_IFCHR ? "c" : type === S_IFBLK ? "b" : type === S_IFDIR ? "directory" : "other",
        major: rdevMajor,
        minor: rdevMinor,
        mode: mode & 0o7777,
        uid,
        gid,
      };
    } catch {
      return undefined;
    }
  },
  list(path) {
    try {
      return readdirSync(path, { withFileTypes: true })
        .filter((entry) => !entry.isSymbolicLink())
        .map((entry) => entry.name)
        .sort();
    } catch {
      return [];
    }
  },
  mountinfo: () => readFileSync("/proc/self/mountinfo", "utf8"),
};
