import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import type { Mount } from "../../spec/oci-runtime.ts";
import type { Modes } from "./modes.ts";
import type { PlannedMount } from "./mount-plan.ts";

/** Host paths of the files that the engine writes for a container. */
export interface ManagedFiles {
  hostname: string;
  hosts: string;
  resolv: string;
}

// What has to stay writable under a read-only root, or cannot be otherwise.
const ALWAYS_WRITABLE = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];
const KERNEL = ["nosuid", "noexec", "nodev"];

const depth = (path: string) => path.split("/").length;

function defaultMounts(host: HostConfig, modes: Modes, writableCgroups: boolean): Mount[] {
  const access = host.Privileged ? [] : ["ro"];
  const cgroupAccess = host.Privileged || writableCgroups ? [] : ["ro"];
  const mounts: Mount[] = [
    { destination: "/proc", type: "proc", source: "proc", options: [...KERNEL] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...KERNEL, ...access] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...KERNEL, ...cgroupAccess] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: [...KERNEL] },
  ];
  if (!modes.ipc.shm) return mounts;
  const shm: Mount =
    modes.ipc.kind === "host"
      ? { destination: "/dev/shm", type: "bind", source: "/dev/shm", options: ["rbind", "rprivate"] }
      : {
          destination: "/dev/shm",
          type: "tmpfs",
          source: "shm",
          options: [...KERNEL, "mode=1777", `size=${host.ShmSize || 64 * 1024 * 1024}`],
        };
  return [...mounts, shm];
}

/** A planned mount whose source is a host path by now. `rro` makes submounts read-only too (mount_setattr, Linux 5.12). */
function ociMount(mount: PlannedMount, recursiveReadOnly: boolean, idmap: boolean): Mount {
  const { destination, type, source, readOnly, propagation, filesystem } = mount;
  if (type === "tmpfs") return { destination, type, source: "tmpfs", options: mount.options ?? [] };
  // Read-only as a mount: its superblock is that of others too.
  if (filesystem) {
    const options = [...filesystem.words, ...(readOnly ? ["rro"] : [])];
    return { destination, type: filesystem.type, source: filesystem.device, options };
  }
  if (!source.startsWith("/")) throw invalid(`the ${type} at ${destination} has no host path`);
  if (mount.readOnlySubmounts === "must" && !recursiveReadOnly) {
    throw invalid(`cannot mount ${source} recursively read-only: needs Linux 5.12`);
  }
  const recursive = recursiveReadOnly && mount.readOnlySubmounts !== "no" && !mount.nonRecursive;
  const options = [mount.nonRecursive ? "bind" : "rbind", propagation, ...(mount.options ?? [])];
  if (readOnly) options.push(recursive ? "rro" : "ro");
  if (idmap) options.push("idmap");
  return { destination, type: "bind", source, options };
}

/**
 * mounts of the spec, in the order to make them: the default file systems, then what the user asked for (parents
 * first), which takes the place of a default at the same path; below a user's /dev or /sys no default stays. `idmap`:
 * binds carry the ids of the container's user namespace.
 */
export function ociMounts(input: {
  host: HostConfig;
  modes: Modes;
  volumes: readonly PlannedMount[];
  files?: ManagedFiles;
  writableCgroups: boolean;
  recursiveReadOnly: boolean;
  idmap: boolean;
}): Mount[] {
  const { host, volumes, files, idmap } = input;
  const users = new Set(volumes.map((mount) => mount.destination));
  const below = (path: string, top: string) => users.has(top) && path.startsWith(`${top}/`);
  const defaults = defaultMounts(host, input.modes, input.writableCgroups).filter(
    ({ destination }) => !users.has(destination) && !below(destination, "/dev") && !below(destination, "/sys"),
  );
  if (host.ReadonlyRootfs) {
    for (const { destination, options = [] } of defaults) {
      if (!ALWAYS_WRITABLE.includes(destination) && !options.includes("ro")) options.push("ro");
    }
  }
  const managed: Mount[] = Object.entries({
    "/etc/resolv.conf": files?.resolv,
    "/etc/hostname": files?.hostname,
    "/etc/hosts": files?.hosts,
  }).flatMap(([destination, source]) => {
    if (source === undefined || users.has(destination)) return [];
    const options = ["rbind", "rprivate", ...(host.ReadonlyRootfs ? ["ro"] : []), ...(idmap ? ["idmap"] : [])];
    return [{ destination, type: "bind", source, options }];
  });
  const asked = volumes.map((mount) => ociMount(mount, input.recursiveReadOnly, idmap));
  // Parents first, so that a volume on /etc does not cover /etc/hosts; sort() keeps the order of equals.
  return [...defaults, ...[...managed, ...asked].sort((a, b) => depth(a.destination) - depth(b.destination))];
}
