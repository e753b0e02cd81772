import { posix } from "node:path";
import { invalid } from "../../../base/errors.ts";
import type { Spec } from "../../../spec/oci-runtime.ts";
import { cgroupMounts } from "../../cgroup-mounts.ts";
import { resolveInTree, treeOf } from "../../tree.ts";

/** A mount of the container that CRIU cannot make by itself: where it is, and the host's file or directory. */
export interface ExternalMount {
  destination: string;
  source: string;
}

/**
 * The mounts that come from the host: binds, the cgroup's directories (`cgroups`, those of the host), and in a user
 * namespace the devices. `rootfs` is looked up for symlinks in destinations.
 */
export function externalMounts(spec: Spec, rootfs: string, cgroups: readonly string[]): ExternalMount[] {
  const found: ExternalMount[] = [];
  const tree = treeOf({ kind: "directory", path: rootfs }, spec);
  for (const mount of spec.mounts ?? []) {
    const { type, source, options = [] } = mount;
    const destination = resolveInTree(tree, mount.destination);
    if (type === "bind" || options.includes("bind") || options.includes("rbind")) {
      if (source) found.push({ destination, source });
      continue;
    }
    if (type !== "cgroup" && type !== "cgroup2") continue;
    for (const { name, path } of cgroupMounts(cgroups)) {
      if (type === "cgroup") found.push({ destination: posix.join(destination, name), source: path });
      else if (name === "" || name === "unified") found.push({ destination, source: path });
    }
  }
  if (spec.linux?.namespaces?.some((namespace) => namespace.type === "user")) {
    const devices = [...DEVICES, ...(spec.linux.devices ?? []).map(({ path }) => path)];
    for (const path of new Set(devices)) found.push({ destination: path, source: path });
  }
  for (const { destination, source } of found) {
    // The syntax of CRIU's --external has no quoting.
    if (/[[\]]/.test(destination + source))
      throw invalid(`criu cannot name the mount ${destination}: it has a bracket`);
  }
  return found;
}

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"].map((name) => `/dev/${name}`);

/** The name under which masked files are dumped, and what they are restored from. */
export const MASK = "/dev/null";

/** Which of `masked` have the host's /dev/null over them, by the text of the container's /proc/PID/mountinfo. */
export function maskedFiles(mountinfo: string, masked: readonly string[]): string[] {
  const null_ = new Set<string>();
  for (const line of mountinfo.split("\n")) {
    const [, , , root, mountpoint] = line.split(" ");
    if (root === "/null" && mountpoint !== undefined) null_.add(mountpoint);
  }
  return masked.filter((path) => null_.has(path));
}
