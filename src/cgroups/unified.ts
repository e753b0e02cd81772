import { invalid, unavailable } from "../base/errors.ts";
import { CgroupDirectory } from "./directory.ts";
import type { Hierarchy } from "./hierarchy.ts";
import { ancestors } from "./path.ts";

/** Not limits but operations on processes. */
const FORBIDDEN = new Set(["procs", "threads", "kill", "freeze", "type", "subtree_control"]);

/** The v2 controllers that OCI `resources.unified` (file to value) needs; bad names are invalid-argument errors. */
export function unifiedControllers(unified: Readonly<Record<string, string>>): Set<string> {
  const controllers = new Set<string>();
  for (const [file, value] of Object.entries(unified)) {
    const shown = JSON.stringify(file.slice(0, 100));
    const match = /^([a-z0-9_]+)\.([A-Za-z0-9_.-]+)$/.exec(file);
    if (!match || file.length > 255) throw invalid(`invalid unified resource ${shown}: must be a cgroup v2 file name`);
    if (typeof value !== "string" || value.length > 4096 || value.includes("\0")) {
      throw invalid(`invalid value of unified resource ${shown}`);
    }
    if (match[1] !== "cgroup") controllers.add(match[1]!);
    else if (FORBIDDEN.has(match[2]!)) throw invalid(`invalid unified resource ${shown}: not a limit`);
  }
  return controllers;
}

/** Writes the values as they are; several lines are several writes, as the kernel takes one at a time. */
export function writeUnified(directory: CgroupDirectory, unified: Readonly<Record<string, string>>): void {
  for (const [file, value] of Object.entries(unified)) {
    for (const line of value.split("\n")) if (line !== "" || value === "") directory.write(file, line);
  }
}

/**
 * Makes v2 controllers available in the existing cgroup `path`, by cgroup.subtree_control of all above it
 * (cgroup-v2.rst, "Controlling Controllers"). What only `wished` names may fail.
 */
export function enableControllers(
  hierarchy: Hierarchy,
  path: string,
  required: ReadonlySet<string>,
  wished: ReadonlySet<string>,
): void {
  const root = hierarchy.unified!;
  const present = words(new CgroupDirectory(root + path).read("cgroup.controllers"));
  const missing = [...new Set([...required, ...wished])].filter((name) => !present.has(name));
  if (missing.length === 0) return;
  const available = words(new CgroupDirectory(root).read("cgroup.controllers"));
  for (const name of missing) {
    if (!available.has(name) && required.has(name)) throw missingController(name, hierarchy);
  }
  const wanted = missing.filter((name) => available.has(name));
  for (const above of ["", ...ancestors(path)]) {
    const directory = new CgroupDirectory(root + above);
    const enabled = words(directory.read("cgroup.subtree_control"));
    const lacking = wanted.filter((name) => !enabled.has(name));
    if (lacking.length > 0) enable(directory, lacking, required);
  }
}

/** All in one write; where the kernel refuses, each alone, so that the error is that of a required one. */
function enable(directory: CgroupDirectory, names: readonly string[], required: ReadonlySet<string>): void {
  const file = "cgroup.subtree_control";
  try {
    directory.write(file, names.map((name) => `+${name}`).join(" "));
    return;
  } catch {
    // One of them.
  }
  for (const name of names) {
    try {
      directory.write(file, `+${name}`, CAUSES);
    } catch (error) {
      if (required.has(name)) throw error;
    }
  }
}

const CAUSES = {
  EBUSY: "the cgroup has processes of its own, so none below it can be limited",
  ENOENT: "the cgroup above does not pass the controller on",
  EINVAL: "the controller refuses, as cpu does where realtime processes are",
  EOPNOTSUPP: "the cgroup is threaded",
};

const words = (text: string) => new Set(text.split(/\s+/).filter(Boolean));

/** The error for a limit whose controller the machine does not have. */
export function missingController(name: string, hierarchy: Hierarchy): Error {
  return unavailable(
    `the cgroup controller ${name} is not there: not mounted below ${hierarchy.root}, disabled at boot ` +
      `(cgroup_disable=), or not in this kernel`,
  );
}
