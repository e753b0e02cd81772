import { posix } from "node:path";
import { invalid, messageOf } from "../../base/errors.ts";

export const PROPAGATIONS = ["private", "rprivate", "shared", "rshared", "slave", "rslave"] as const;
export type Propagation = (typeof PROPAGATIONS)[number];

/** One `-v` argument. A bind has a host path as source; a volume a name, or "" for an anonymous one. */
export interface VolumeSpec {
  type: "bind" | "volume";
  source: string;
  destination: string;
  readOnly: boolean;
  propagation?: Propagation;
  noCopy: boolean;
  /** SELinux relabelling: z shared, Z private. */
  relabel?: "z" | "Z";
  /** The option field as given. */
  mode: string;
}

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Throws invalid for what cannot be the name of a local volume. */
export function checkVolumeName(name: string): void {
  const shown = name.slice(0, 256);
  if (name.length === 1) {
    throw invalid(`create ${shown}: volume name is too short, names should be at least two alphanumeric characters`);
  }
  if (VOLUME_NAME.test(name) && name.length <= 255) return;
  throw invalid(
    `create ${shown}: ${JSON.stringify(shown)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

/** A clean absolute path, without `..`, a trailing or doubled slash. */
function cleanPath(path: string, what: string): string {
  if (!path.startsWith("/")) throw invalid(`invalid mount path: '${path}' ${what} must be absolute`);
  if (path.length > 4095 || path.includes("\0"))
    throw invalid(`invalid mount path: ${what} is too long or contains NUL`);
  const clean = posix.normalize(path);
  return clean.length > 1 && clean.endsWith("/") ? clean.slice(0, -1) : clean;
}

/** Docker calls both ends of a mount its mount path. */
export const hostPath = (path: string) => cleanPath(path, "mount path");

// procfs files that may be covered (lxcfs and the like); anything else below /proc could fake what security relies on.
const PROC_FILES = /^\/proc\/(cpuinfo|diskstats|meminfo|stat|swaps|uptime|loadavg|slabinfo|sys\/kernel\/ns_last_pid)$/;

/** Where a mount may go in a container: returns the clean path. Not `/`, and not into /proc (CVE-2019-16884). */
export function checkDestination(path: string): string {
  const clean = cleanPath(path, "mount path");
  if (clean === "/") throw invalid("invalid specification: destination can't be '/'");
  if ((clean === "/proc" || clean.startsWith("/proc/")) && !PROC_FILES.test(clean)) {
    throw invalid(`invalid mount path: '${path}' is inside /proc`);
  }
  return clean;
}

/** The option field of `-v`: comma-separated, each group at most once. */
function parseMode(mode: string): Omit<VolumeSpec, "type" | "source" | "destination"> {
  const result: Omit<VolumeSpec, "type" | "source" | "destination"> = { readOnly: false, noCopy: false, mode };
  const groups = new Set<string>();
  const once = (group: string) => {
    if (groups.has(group)) throw invalid(`invalid mode: ${mode}`);
    groups.add(group);
  };
  for (const word of mode.split(",")) {
    if (word === "ro" || word === "rw") {
      once("access");
      result.readOnly = word === "ro";
    } else if (word === "z" || word === "Z") {
      once("label");
      result.relabel = word;
    } else if (word === "nocopy") {
      once("copy");
      result.noCopy = true;
    } else if ((PROPAGATIONS as readonly string[]).includes(word)) {
      once("propagation");
      result.propagation = word as Propagation;
    } else if (word === "consistent" || word === "cached" || word === "delegated") {
      once("consistency");
    } else {
      throw invalid(`invalid mode: ${mode}`);
    }
  }
  return result;
}

/**
 * `[source:]destination[:options]`, docker's short volume syntax: a source that begins with `/` is a bind, any other a
 * volume. Throws invalid.
 */
export function parseVolume(spec: string): VolumeSpec {
  const fail = (why = "") => invalid(`invalid volume specification: '${spec.slice(0, 512)}'${why}`);
  const parts = spec.split(":");
  if (spec === "" || parts.length > 3 || parts.some((part) => part === "")) throw fail();
  const [first, second, mode] = parts as [string, string?, string?];
  if (second === undefined) {
    return { type: "volume", source: "", destination: checkDestination(first), ...parseMode("rw"), mode: "" };
  }
  const type = first.startsWith("/") ? "bind" : "volume";
  const failMount = (why: string) => fail(`: invalid mount config for type "${type}": ${why}`);
  const options = { ...parseMode(mode ?? "rw"), mode: mode ?? "" };
  const destination = within(failMount, () => checkDestination(second));
  if (type === "bind") {
    if (options.noCopy) throw failMount("field VolumeOptions must not be specified");
    return { type, source: within(failMount, () => hostPath(first)), destination, ...options };
  }
  checkVolumeName(first);
  if (options.propagation !== undefined) throw failMount("field BindOptions must not be specified");
  return { type, source: first, destination, ...options };
}

/** What `body` throws becomes the reason of `fail`, which says where it stands. */
export function within<T>(fail: (why: string) => Error, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw fail(messageOf(error));
  }
}
