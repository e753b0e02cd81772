import { accessSync, constants, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, InroError, messageOf, unavailable } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import { cgroupOf, detectHierarchy } from "../../cgroups/hierarchy.ts";
import type { Resources, Spec } from "../../spec/oci-runtime.ts";
import { createCgroup, DELEGATE, noCgroup } from "./cgroup.ts";
import type { Joins } from "./exec-cgroup.ts";
import { isAlive, type State } from "./state.ts";

/** Cgroups that a user may have been given (cgroup-v2.rst, "Delegation"): beside his own, or in it. Root has all. */
function candidates(spec: Spec, path: string, id: string, root: boolean): string[] {
  if (spec.linux?.cgroupsPath || root) return [path];
  const own = cgroupOf(readFileSync("/proc/self/cgroup", "utf8"));
  // Outside of what the cgroup namespace shows.
  if (own.includes("/..")) return [];
  return [...new Set([posix.join(posix.dirname(own), id), posix.join(own, id)])];
}

/**
 * The container's cgroup, where one is delegated to this user. Without, undefined, as long as neither limits nor a path
 * are asked for; else an error. `attempt` hears each path before it is made; `root`: we are the machine's.
 */
export function createRootlessCgroup(
  spec: Spec,
  options: { path: string; id: string; root: boolean; warn(message: string): void; attempt(path: string): void },
): Cgroup | undefined {
  let refused: unknown = unavailable("no cgroup of this user's is in sight");
  for (const path of candidates(spec, options.path, options.id, options.root)) {
    options.attempt(path);
    try {
      return createCgroup(spec, path, options.warn, options.root);
    } catch (error) {
      if (!isPermission(error)) throw error;
      refused = error;
    }
  }
  options.attempt("");
  if (!spec.linux?.cgroupsPath && !wantsLimits(spec.linux?.resources)) return undefined;
  throw unavailable(
    "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: " +
      `${messageOf(refused)}; ${DELEGATE}`,
    refused,
  );
}

function isPermission(error: unknown): boolean {
  if (["EACCES", "EPERM", "EROFS", "EBUSY"].includes(codeOf(error) ?? "")) return true;
  return error instanceof InroError && error.kind === "unavailable";
}

/** Device rules do not count: in a user namespace no device can be made, so there is nothing to keep from. */
function wantsLimits(resources: Resources | undefined): boolean {
  return Object.entries(resources ?? {}).some(
    ([name, value]) => name !== "devices" && (typeof value !== "object" || Object.keys(value ?? {}).length > 0),
  );
}

/**
 * What of `joins` an `exec` can join. A delegated cgroup takes nobody from outside of what is delegated (cgroup-v2.rst,
 * "Delegation Containment"), as from another session of the user's: then, as with runc, the process stays where its
 * caller is.
 */
export function joinable(joins: Joins, warn: (message: string) => void): Joins {
  const unified = joins.unified !== undefined && mayMoveTo(joins.unified) ? joins.unified : undefined;
  const joinFiles = joins.joinFiles.filter(isWritable);
  if (unified !== joins.unified || joinFiles.length < joins.joinFiles.length)
    warn("exec: the process stays in its caller's cgroup, which no delegated one holds together with the container's");
  return { unified, joinFiles };
}

function mayMoveTo(directory: string): boolean {
  const root = detectHierarchy().unified ?? "";
  const own = namesOf(cgroupOf(readFileSync("/proc/self/cgroup", "utf8")));
  const theirs = namesOf(directory.slice(root.length));
  const same = theirs.findIndex((name, i) => name !== own[i]);
  const common = same < 0 ? theirs : theirs.slice(0, same);
  return isWritable(posix.join(root, ...common, "cgroup.procs")) && isWritable(posix.join(directory, "cgroup.procs"));
}

const namesOf = (path: string) => path.split("/").filter(Boolean);

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Host pids of a container without a cgroup: all in its pid namespace. One that shares its caller's has no such list. */
export function namespaceProcesses(operation: string, state: State): number[] {
  if (!isAlive(state)) return [];
  const theirs = namespaceOf(String(state.pid));
  if (theirs === undefined || theirs === namespaceOf("self")) throw noCgroup(operation, state.id);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && namespaceOf(name) === theirs)
    .map(Number);
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // Another user's, or gone.
    return undefined;
  }
}
