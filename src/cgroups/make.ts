import { chownSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { codeOf, conflict, SysError } from "../base/errors.ts";
import { type CgroupDirectory, errnoOf } from "./directory.ts";
import { processes } from "./processes.ts";

/** mkdir(2). False where the parent is missing; an existing directory is fine. Adds what it made to `made`. */
export function mkdir(path: string, made: string[]): boolean {
  try {
    mkdirSync(path, 0o755);
    made.push(path);
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return true;
    if (code === "ENOENT") return false;
    const cause = code === undefined ? undefined : MKDIR_CAUSES[code];
    throw new SysError("mkdir", path, errnoOf(error), cause);
  }
}

const MKDIR_CAUSES: Readonly<Record<string, string>> = {
  EACCES: "the cgroup above is not delegated to this user",
  EPERM: "the cgroup above is not delegated to this user",
  EROFS: "the cgroup file system is mounted read-only",
  EAGAIN: "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached",
  ENOSPC: "the kernel is out of cgroup ids: too many cgroups, or removed ones that still hold memory",
};

/** Refuses a cgroup with processes or a frozen one, as runtime-spec config-linux.md ("Control groups") lets a runtime do. */
export function checkUnused(directory: CgroupDirectory): void {
  const { path } = directory;
  const found = processes(path).length;
  if (found > 0) throw conflict(`container's cgroup is not empty: ${found} process(es) found in ${path}`);
  const frozen = directory.tryRead("cgroup.freeze") === "1" || directory.tryRead("freezer.state") === "FROZEN";
  if (frozen) throw conflict(`container's cgroup unexpectedly frozen: ${path}`);
}

/** rmdir(2) of what may be in use or gone. */
export function tryRmdir(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // A parent that another cgroup uses by now.
  }
}

/** Gives the directory and the files that the kernel names for it to `uid`. */
export function delegate(directory: string, uid: number): void {
  let files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
  try {
    files = readFileSync("/sys/kernel/cgroup/delegate", "utf8").split("\n").filter(Boolean);
  } catch {
    // Before Linux 4.15.
  }
  for (const file of ["", ...files]) {
    try {
      chownSync(`${directory}/${file}`, uid, -1);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw new SysError("chown", `${directory}/${file}`, errnoOf(error));
    }
  }
}
