import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import * as k from "../linux/constants.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { attachNumber, takeNumber } from "./descriptors.ts";
import type { PlannedMount } from "./mount-plan.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";

/** A directory of the container's own cgroup, by the name of its hierarchy; "" where there is only v2. */
export interface CgroupDirectory {
  name: string;
  path: string;
}

/** Below the container's cgroup mount: v2 is the mount itself (""), a hierarchy of v1 or hybrid a directory of its name. */
export function cgroupMounts(paths: readonly string[]): CgroupDirectory[] {
  return paths.map((path) => {
    const [first = ""] = path.slice(CGROUP_ROOT.length + 1).split("/");
    const pure = paths.length === 1 && existsSync(join(CGROUP_ROOT, "cgroup.controllers"));
    return { name: pure ? "" : first, path };
  });
}

/**
 * On the host: the container's own directories, once for each mount of the config. They are bound, not mounted anew: so
 * without a cgroup namespace too, nothing but them is in sight.
 */
export function openCgroups(
  p: Builder,
  planned: readonly PlannedMount[],
  directories: readonly CgroupDirectory[],
): Map<PlannedMount, { name: string; number: number }[]> {
  const opened = new Map<PlannedMount, { name: string; number: number }[]>();
  for (const mount of planned) {
    if (mount.kind !== "cgroup") continue;
    const { why } = mount;
    const those =
      mount.type === "cgroup2"
        ? directories.filter(({ name }) => name === "" || name === "unified").map(({ path }) => ({ name: "", path }))
        : directories;
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
  cgroups: readonly { name: string; number: number }[],
): void {
  const only = cgroups[0];
  if (!only) return;
  if (cgroups.length === 1 && only.name === "") {
    p.setAttributes(why, only.number, { set: attributes });
    attachNumber(p, why, only.number, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
    return;
  }
  const data = [["mode", "755"] as const, ...options.data.filter(([key]) => key === "context")];
  const tmpfs = p.newMount(why, "tmpfs", "tmpfs", data, attributes & ~k.MOUNT_ATTR_RDONLY);
  p.attach(why, tmpfs, p.mountPoint(why, destination, k.O_PATH | k.O_DIRECTORY));
  for (const { name, number } of cgroups) {
    p.call(why, "mkdirat", [tmpfs, p.text(name), 0o755]);
    p.setAttributes(why, number, { set: attributes });
    attachNumber(p, why, number, p.mountPoint(why, posix.join(destination, name), k.O_PATH | k.O_DIRECTORY));
    // Controllers that share a hierarchy are found by their own names too.
    const names = name.includes(",") ? name.split(",") : [];
    for (const each of names) p.call(why, "symlinkat", [p.text(name), tmpfs, p.text(each)]);
  }
  if (attributes & k.MOUNT_ATTR_RDONLY) p.setAttributes(why, tmpfs, { set: k.MOUNT_ATTR_RDONLY });
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
