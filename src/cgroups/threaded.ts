import { invalid } from "../base/errors.ts";
import { CgroupDirectory } from "./directory.ts";
import { ancestors } from "./path.ts";

/** The controllers that work on threads (cgroup-v2.rst, "Threads"); the others need a domain. */
const THREADED = new Set(["cpu", "cpuset", "perf_event", "pids"]);

/**
 * Makes a cgroup2 directory that was made below a threaded one fit for processes: such a one is `domain invalid` until
 * it is threaded too. An invalid-argument error where a required controller needs a domain, which it cannot have there.
 */
export function settleType(root: string, path: string, required: ReadonlySet<string>): void {
  // Then all above are domains too.
  if (new CgroupDirectory(root + path).tryRead("cgroup.type") === "domain") return;
  const domain = [...required].filter((name) => !THREADED.has(name));
  for (const part of [...ancestors(path), path]) {
    const directory = new CgroupDirectory(root + part);
    const type = directory.tryRead("cgroup.type");
    if (type === undefined || type === "domain") continue;
    if (domain.length > 0) {
      throw invalid(`cgroup ${directory.path}: its type is ${type}, where ${domain.join(", ")} cannot be limited`);
    }
    if (type === "domain invalid") directory.write("cgroup.type", "threaded");
  }
}
