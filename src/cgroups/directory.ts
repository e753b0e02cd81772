import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { codeOf, SysError } from "../base/errors.ts";
import { readText } from "../linux/file.ts";

/** Likely causes by errno name, for the error of one write. */
export type Causes = Readonly<Record<string, string>>;

const COMMON: Causes = {
  ENOENT: "this kernel has no such file",
  EINVAL: "the kernel refuses this value",
  EACCES: "not allowed to write, or the cgroup is not delegated to this user",
  EPERM: "not allowed to write, or the cgroup is not delegated to this user",
  EROFS: "the cgroup file system is mounted read-only",
  ENODEV: "no such device, or the cgroup was removed",
  EOPNOTSUPP: "not possible in a cgroup of this type",
};

/** The positive errno of a node:fs error; rethrows what is none. */
export function errnoOf(error: unknown): number {
  const errno = (error as { errno?: unknown }).errno;
  if (typeof errno !== "number" || codeOf(error) === undefined) throw error;
  return Math.abs(errno);
}

/** The interface files of one cgroup in one hierarchy. Holds nothing open. */
export class CgroupDirectory {
  constructor(readonly path: string) {}

  has(file: string): boolean {
    return existsSync(`${this.path}/${file}`);
  }

  /** Content without the final newline; a failure is a SysError. */
  read(file: string): string {
    try {
      return readFileSync(`${this.path}/${file}`, "utf8").trimEnd();
    } catch (error) {
      throw new SysError("read", `${this.path}/${file}`, errnoOf(error));
    }
  }

  /** As {@link read}; undefined where the file is not there or cannot be read. */
  tryRead(file: string): string | undefined {
    return readText(`${this.path}/${file}`)?.trimEnd();
  }

  /** A file of one number; `max` and what is no number are undefined. */
  number(file: string): number | undefined {
    const text = this.tryRead(file);
    return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  }

  /** A file of `name value` lines; empty where it is not there. */
  table(file: string): Record<string, number> {
    const found: Record<string, number> = {};
    for (const line of this.tryRead(file)?.split("\n") ?? []) {
      const match = /^(\S+) (\d+)$/.exec(line);
      if (match) found[match[1]!] = Number(match[2]);
    }
    return found;
  }

  /** One write(2) of `value`. The SysError names file, value, errno and the likely cause, `causes` before the common ones. */
  write(file: string, value: string | number, causes: Causes = {}): void {
    const path = `${this.path}/${file}`;
    for (let tries = 0; ; tries++) {
      try {
        // No O_CREAT and no O_TRUNC: the kernel's files are there or not.
        const fd = openSync(path, constants.O_WRONLY);
        try {
          writeSync(fd, String(value));
        } finally {
          closeSync(fd);
        }
        return;
      } catch (error) {
        const code = codeOf(error);
        if (code === "EINTR" && tries < 8) continue;
        const cause = code === undefined ? undefined : (causes[code] ?? COMMON[code]);
        throw new SysError("write", `${JSON.stringify(String(value))} to ${path}`, errnoOf(error), cause);
      }
    }
  }
}
