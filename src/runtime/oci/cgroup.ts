import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { type InroError, invalid, unavailable } from "../../base/errors.ts";
import { Cgroup, removeEmptyParent } from "../../cgroups/cgroup.ts";
import { cgroupOf, detectHierarchy } from "../../cgroups/hierarchy.ts";
import type { DeviceRule, Resources, Spec } from "../../spec/oci-runtime.ts";
import { mayMountCgroups } from "../cgroup-mounts.ts";

/** Every container may use these, whatever its rules say (config-linux.md, "Default Devices"; runc adds tun and mknod). */
const ALWAYS: readonly DeviceRule[] = [
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...(
    [
      [1, 3],
      [1, 5],
      [1, 7],
      [1, 8],
      [1, 9],
      [5, 0],
      [5, 2],
      [10, 200],
    ] as const
  ).map(([major, minor]): DeviceRule => ({ allow: true, type: "c", major, minor, access: "rwm" })),
  { allow: true, type: "c", major: 136, access: "rwm" },
];

const OWN_PARENT = "/inro-runtime";

/** The parent of those that asked for no place goes with the last of them. */
export function removeOwnParent(): void {
  removeEmptyParent(detectHierarchy(), OWN_PARENT);
}

/** Absolute: below the mount. Relative: below the parent of our own. Absent: a place of ours. */
export function cgroupPath(spec: Spec, id: string): string {
  const path = spec.linux?.cgroupsPath;
  if (!path) return `${OWN_PARENT}/${id}`;
  if (/^[^/]*:[^/]*:[^/]*$/.test(path)) {
    throw invalid(`config.json: linux.cgroupsPath: ${path} is systemd's form, which needs --systemd-cgroup`);
  }
  // Without `..`, and not above where it begins.
  const clean = posix.resolve("/", path);
  if (clean === "/") throw invalid(`config.json: linux.cgroupsPath: ${path} is the root of the hierarchies`);
  if (path.startsWith("/")) return clean;
  return posix.join(posix.dirname(cgroupOf(readFileSync("/proc/self/cgroup", "utf8"))), clean);
}

/**
 * Makes it and writes the limits. A property that this kernel has nothing for is an unavailable error; only what
 * promises nothing any more is a warning. Without `root`, the machine's, there are no device rules, which need it, and no
 * hierarchies that nothing was asked of. With `systemd`, it is that of a unit that has been started.
 */
export function createCgroup(
  spec: Spec,
  path: string,
  warn: (message: string) => void,
  root = true,
  systemd = false,
): Cgroup {
  const { devices = [{ allow: false, access: "rwm" }], ...rest } = spec.linux?.resources ?? {};
  const resources: Resources = root ? { ...rest, devices: [...devices, ...ALWAYS] } : rest;
  if (hasKernelMemory(resources)) warn("kernel memory limits discarded: the kernel has none any more");
  const owner = root ? delegatedTo(spec) : undefined;
  return Cgroup.create(detectHierarchy(), path, resources, {
    everywhere: root && (systemd || everywhere(spec)),
    occupied: systemd,
    ...(owner !== undefined && { owner }),
  });
}

/**
 * The host user that the container's process is, if it may manage cgroups of its own (config-linux.md, "Cgroup
 * ownership"): it sees the cgroup as the root of a new namespace, and has it mounted for writing.
 */
export function delegatedTo({ linux, mounts, process }: Spec): number | undefined {
  const own = (type: string) => linux?.namespaces?.some((n) => n.type === type && !n.path) === true;
  const writable = mounts?.some(
    ({ source, destination, options }) =>
      source === "cgroup" && posix.resolve("/", destination) === "/sys/fs/cgroup" && !options?.includes("ro"),
  );
  if (!own("cgroup") || !writable) return undefined;
  const uid = process?.user.uid ?? 0;
  if (!own("user")) return uid;
  const range = linux?.uidMappings?.find((m) => uid >= m.containerID && uid < m.containerID + m.size);
  return range && range.hostID + uid - range.containerID;
}

export function hasKernelMemory({ memory }: Resources): boolean {
  return Boolean(memory?.kernel) || Boolean(memory?.kernelTCP);
}

/** Whoever names a place has its limits and reads its figures there; who can mount a hierarchy must not be in its root. */
const everywhere = (spec: Spec) => Boolean(spec.linux?.cgroupsPath) || mayMountCgroups(spec);

export const DELEGATE =
  "delegate a cgroup to this user, as `systemd-run --user --scope -p Delegate=yes COMMAND` does on cgroup v2";

/** What cannot be done to a container without a cgroup. */
export function noCgroup(operation: string, id: string): InroError {
  return unavailable(`cannot ${operation} container ${id}: it has no cgroup; ${DELEGATE} before it is created`);
}

/** What exists of it; undefined when it is gone. */
export function openCgroup(path: string): Cgroup | undefined {
  try {
    return Cgroup.open(detectHierarchy(), path);
  } catch {
    return undefined;
  }
}

export function isPaused(cgroup: Cgroup | undefined): boolean {
  for (const directory of cgroup?.paths() ?? []) {
    for (const [file, value] of [
      ["cgroup.freeze", "1"],
      ["freezer.state", "FROZEN"],
    ] as const) {
      try {
        if (readFileSync(`${directory}/${file}`, "latin1").trim() === value) return true;
      } catch {
        // The other kind.
      }
    }
  }
  return false;
}
