import { readFileSync } from "node:fs";
import { unavailable } from "../base/errors.ts";

/** Where the machine's cgroup file systems are mounted (cgroups(7)). */
export interface Hierarchy {
  /** v2: all controllers in the one tree. hybrid: a cgroup2 tree beside v1 controllers. v1: no cgroup2 mount at all. */
  readonly mode: "v1" | "v2" | "hybrid";
  readonly root: string;
  /**
   * Mount point by controller: v1 names (`blkio`), `name=systemd` for named ones, and v2 names (`io`) at
   * {@link unified}. Co-mounted controllers share one mount point.
   */
  readonly controllers: ReadonlyMap<string, string>;
  /** The cgroup2 mount. */
  readonly unified?: string;
  /** A part that was given to a user ({@link file://./delegated.ts}): limits without a controller there are discarded. */
  readonly delegated?: boolean;
}

/** The v1 controllers in cgroups(7); other words in the mount's options are flags. */
const V1_CONTROLLERS = new Set([
  ...["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "net_cls", "net_prio"],
  ...["blkio", "perf_event", "hugetlb", "pids", "rdma", "misc", "debug"],
]);

const DEFAULT_ROOT = "/sys/fs/cgroup";

interface CgroupMount {
  type: "cgroup" | "cgroup2";
  mountpoint: string;
  controllers: string[];
}

/**
 * Finds the hierarchies by `mountinfo` (the text of /proc/self/mountinfo, read when absent). Mounts at or below `root`
 * count; others only for what is not there, and only with the default root. No cgroup mount is an unavailable error.
 */
export function detectHierarchy(root = DEFAULT_ROOT, mountinfo?: string): Hierarchy {
  const text = mountinfo ?? readFileSync("/proc/self/mountinfo", "utf8");
  const inside = (path: string) => path === root || path.startsWith(`${root}/`);
  const all = cgroupMounts(text);
  const mounts = all.filter((m) => inside(m.mountpoint));
  if (root === DEFAULT_ROOT) mounts.push(...all.filter((m) => !inside(m.mountpoint)));

  const controllers = new Map<string, string>();
  let unified: string | undefined;
  let v1 = false;
  for (const mount of mounts) {
    if (mount.type === "cgroup2") unified ??= mount.mountpoint;
    for (const name of mount.controllers) {
      if (!controllers.has(name)) controllers.set(name, mount.mountpoint);
      v1 ||= !name.startsWith("name=");
    }
  }
  if (unified !== undefined) {
    // A v1 mount keeps its controllers out of cgroup.controllers, so nothing is there twice.
    for (const name of enabled(unified)) if (!controllers.has(name)) controllers.set(name, unified);
    return { mode: v1 ? "hybrid" : "v2", root, controllers, unified };
  }
  if (controllers.size === 0) throw unavailable(`no cgroup file system is mounted at ${root}`);
  return { mode: "v1", root, controllers };
}

function enabled(unified: string): string[] {
  return readFileSync(`${unified}/cgroup.controllers`, "utf8").split(/\s+/).filter(Boolean);
}

/** proc_pid_mountinfo(5); fields: id parent dev root mountpoint options [optional…] - type source super-options */
function cgroupMounts(mountinfo: string): CgroupMount[] {
  const visible = new Map<string, CgroupMount | undefined>();
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    const mountpoint = unescapeOctal(left?.split(" ")[4] ?? "");
    const [type, , options] = right?.split(" ") ?? [];
    // A later mount on the same point hides the earlier one, whatever its type.
    visible.delete(mountpoint);
    if (type !== "cgroup" && type !== "cgroup2") visible.set(mountpoint, undefined);
    else {
      const words = type === "cgroup2" ? [] : (options ?? "").split(",");
      const controllers = words.filter((word) => V1_CONTROLLERS.has(word) || word.startsWith("name="));
      visible.set(mountpoint, { type, mountpoint, controllers });
    }
  }
  return [...visible.values()].filter((mount) => mount !== undefined);
}

/** mountinfo writes space, tab, newline and backslash as three octal digits (proc_pid_mountinfo(5)). */
export function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** As a service manager sees the machine: what limits is in v2, or in v1 (hybrid mode too). */
export const cgroupVersion = ({ mode }: Hierarchy): 1 | 2 => (mode === "v2" ? 2 : 1);

/** Which version serves a controller that v1 and v2 may name differently; undefined where neither does. */
export function locate(
  hierarchy: Hierarchy,
  names: { v1?: string; v2?: string },
): { version: 1 | 2; mountpoint: string } | undefined {
  const { controllers, unified } = hierarchy;
  if (names.v2 !== undefined && unified !== undefined && controllers.get(names.v2) === unified) {
    return { version: 2, mountpoint: unified };
  }
  const mountpoint = names.v1 === undefined ? undefined : controllers.get(names.v1);
  return mountpoint === undefined || mountpoint === unified ? undefined : { version: 1, mountpoint };
}

/**
 * The cgroup2 path of a process by the text of its /proc/<pid>/cgroup (cgroups(7)), in v1 that of its `name=systemd` or
 * first hierarchy; `/` where there is none. What a relative cgroupsPath is below is the parent of the runtime's own.
 */
export function cgroupOf(text: string): string {
  const lines = text
    .split("\n")
    .map((line) => /^(\d+):([^:]*):(\/.*)$/.exec(line))
    .filter((match) => match !== null);
  const own = lines.find((m) => m[1] === "0") ?? lines.find((m) => m[2] === "name=systemd") ?? lines[0];
  return own?.[3] ?? "/";
}
