import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { detectHierarchy, type Hierarchy } from "../cgroups/hierarchy.ts";
import * as k from "../linux/constants.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";
import { setting } from "./mount-options.ts";
import type { PlannedMount } from "./mount-plan.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";

/** A directory of the container's own cgroup, by the name of its hierarchy; "" where there is only v2. */
export interface CgroupDirectory {
  name: string;
  path: string;
}

/** A hierarchy as the container's own cgroup namespace shows it: for one that is in no cgroup of its own. */
export interface FreshHierarchy {
  name: string;
  type: "cgroup" | "cgroup2";
  options: readonly (readonly [key: string, value: string | undefined])[];
}

/** What a cgroup mount consists of, once the host's side is open. */
export type CgroupPart = { name: string; number: number } | FreshHierarchy;

/** Below the container's cgroup mount: v2 is the mount itself (""), a hierarchy of v1 or hybrid a directory of its name. */
export function cgroupMounts(paths: readonly string[]): CgroupDirectory[] {
  return paths.map((path) => {
    const [first = ""] = path.slice(CGROUP_ROOT.length + 1).split("/");
    const pure = paths.length === 1 && existsSync(join(CGROUP_ROOT, "cgroup.controllers"));
    return { name: pure ? "" : first, path };
  });
}

/** What a container without a cgroup sees of the hierarchies, if a cgroup namespace of its own keeps the rest from it. */
export function freshHierarchies(spec: Spec): FreshHierarchy[] {
  if (!spec.linux?.namespaces?.some(({ type, path }) => type === "cgroup" && !path)) return [];
  let hierarchy: Hierarchy;
  try {
    hierarchy = detectHierarchy();
  } catch {
    // None is mounted.
    return [];
  }
  const { mode, controllers, unified } = hierarchy;
  const v2 = (name: string): FreshHierarchy => ({ name, type: "cgroup2", options: [] });
  if (mode === "v2") return [v2("")];
  const v1 = new Map<string, string[]>();
  for (const [controller, mountpoint] of controllers) {
    if (mountpoint !== unified) v1.set(mountpoint, [...(v1.get(mountpoint) ?? []), controller]);
  }
  const mounts = [...v1].map(([mountpoint, names]): FreshHierarchy => {
    const named = names[0]?.startsWith("name=") ? names[0].slice("name=".length) : undefined;
    return {
      name: posix.basename(mountpoint),
      type: "cgroup",
      options: named
        ? [
            ["none", undefined],
            ["name", named],
          ]
        : names.map((name) => [name, undefined]),
    };
  });
  return unified === undefined ? mounts : [...mounts, v2("unified")];
}

/**
 * On the host: the container's own directories, once for each mount of the config. They are bound, not mounted anew: so
 * without a cgroup namespace too, nothing but them is in sight. Without any, `fresh` is mounted.
 */
export function openCgroups(
  p: Builder,
  planned: readonly PlannedMount[],
  directories: readonly CgroupDirectory[],
  fresh: readonly FreshHierarchy[] = [],
): Map<PlannedMount, readonly CgroupPart[]> {
  const opened = new Map<PlannedMount, readonly CgroupPart[]>();
  for (const mount of planned) {
    if (mount.kind !== "cgroup") continue;
    const { why } = mount;
    const ofType = <T extends { name: string }>(all: readonly T[]): readonly T[] =>
      mount.type !== "cgroup2"
        ? all
        : all.filter(({ name }) => name === "" || name === "unified").map((each) => ({ ...each, name: "" }));
    if (directories.length === 0) {
      opened.set(mount, ofType(fresh));
      continue;
    }
    const those = ofType(directories);
    const entries = those.map(({ name, path }) => {
      const number = takeNumber(p);
      const tree = p.copyMount(why, k.AT_FDCWD, path, 0);
      p.setAttributes(why, tree, { propagation: k.MS_PRIVATE });
      p.call(why, "dup3", [tree, number, k.O_CLOEXEC]);
      p.call(why, "close", [tree]);
      return { name, number };
    });
    opened.set(mount, entries);
  }
  return opened;
}

/** v2: the container's directory itself. Else a tmpfs with one directory for each hierarchy that it is in. */
export function mountCgroups(
  p: Builder,
  { why, destination, options }: PlannedMount,
  attributes: number,
  cgroups: readonly CgroupPart[],
): void {
  const only = cgroups[0];
  if (!only) return;
  const attach = (part: CgroupPart, path: string) => {
    if ("number" in part) p.setAttributes(why, part.number, setting(attributes));
    const made = "type" in part ? p.newMount(why, part.type, part.type, part.options, attributes) : undefined;
    const place = p.mountPoint(why, path, k.O_PATH | k.O_DIRECTORY);
    if ("number" in part) attachNumber(p, why, part.number, place);
    else p.attach(why, made!, place);
  };
  if (cgroups.length === 1 && only.name === "") {
    attach(only, destination);
    return;
  }
  const data = [["mode", "755"] as const, ...options.data.filter(([key]) => key === "context")];
  const tmpfs = p.newMount(why, "tmpfs", "tmpfs", data, attributes & ~k.MOUNT_ATTR_RDONLY);
  p.attach(why, tmpfs, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
  for (const { name } of cgroups) {
    p.call(why, "mkdirat", [tmpfs, p.text(name), 0o755]);
    // Controllers that share a hierarchy are found by their own names too.
    const names = name.includes(",") ? name.split(",") : [];
    for (const each of names) p.call(why, "symlinkat", [p.text(name), tmpfs, p.text(each)]);
  }
  if (attributes & k.MOUNT_ATTR_RDONLY) p.setAttributes(why, tmpfs, { set: k.MOUNT_ATTR_RDONLY });
  // Last: with many hierarchies these rows take the temporary slot of the tmpfs.
  for (const part of cgroups) attach(part, posix.join(destination, part.name));
}

/**
 * Whether the container may mount a cgroup v1 hierarchy, and so must not be in its root, where it would find the host's
 * release_agent (CVE-2022-0492).
 */
export function mayMountCgroups({ linux, process }: Spec): boolean {
  const capabilities = process?.capabilities;
  const admin = !capabilities || capabilities.bounding?.includes("CAP_SYS_ADMIN") === true;
  return admin || linux?.namespaces?.some(({ type }) => type === "user") === true;
}
