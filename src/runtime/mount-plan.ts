import { statfsSync, statSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, statat } from "../linux/file.ts";
import type { Mount, Spec } from "../spec/oci-runtime.ts";
import { type MountOptions, parseMountOptions } from "./mount-options.ts";
import { isBelow, openInTree, resolveInTree, type Tree } from "./tree.ts";

/** A mount of the config, ready to become rows. */
export interface PlannedMount {
  why: string;
  /** Without symlinks: one that is there when it is mounted has come since, and is an error (CVE-2021-30465). */
  destination: string;
  options: MountOptions;
  kind: "bind" | "cgroup" | "filesystem" | "remount";
  type: string;
  source: string | undefined;
  /** Descriptor number of what was opened on the host: a bind's source, the file system of a device; else 0. */
  number: number;
  sourceIsDirectory: boolean;
  /** What the launcher made for it: descriptor numbers. */
  given: Given | undefined;
}

/** Of one mount, made by the launcher before the program runs. */
export interface Given {
  /** The user namespace that maps its owners. */
  userns?: number;
  /** The file system itself, detached. */
  mount?: number;
}

/** /proc holds nothing that may be covered but for these (runc's list; lxcfs needs them). CVE-2019-16884. */
const PROC_MAY_COVER = new Set(
  "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo sys/kernel/ns_last_pid sys/crypto/fips_enabled"
    .split(" ")
    .map((name) => `/proc/${name}`),
);
const PROC_SUPER_MAGIC = 0x9fa0;
const PROC_ROOT_INO = 1;

/** Their superblock is not this container's alone, so it keeps its flags. */
const KERNEL_TYPES = new Set(
  "proc sysfs tmpfs devpts mqueue cgroup cgroup2 devtmpfs securityfs debugfs bpf".split(" "),
);

/** Whether flags of the superblock may be set: others see it too where it is the kernel's. */
export const ownsSuperblock = (type: string) => !KERNEL_TYPES.has(type) || type === "tmpfs" || type === "devpts";

/**
 * Checks the mounts of a config, and finds out where their destinations lead; `layers` are the root's, top first. Looks
 * at the host and the image, and makes nothing.
 */
export function planMounts(
  spec: Pick<Spec, "mounts" | "linux">,
  layers: readonly string[],
  given: ReadonlyMap<number, Given> = new Map(),
): PlannedMount[] {
  const mounts = spec.mounts ?? [];
  const userns = spec.linux?.namespaces?.some(({ type }) => type === "user") ?? false;
  const before: PlannedMount[] = [];
  const binds: Tree["binds"][number][] = [];
  for (const [i, mount] of mounts.entries()) {
    const planned = planMount(mount, i, { tree: { layers, binds }, before, userns, label: spec.linux?.mountLabel });
    planned.given = given.get(i);
    before.push(planned);
    if (planned.kind === "bind") binds.push({ destination: planned.destination, source: planned.source! });
  }
  return before;
}

interface Around {
  /** The root with the binds so far. */
  tree: Tree;
  before: readonly PlannedMount[];
  userns: boolean;
  label: string | undefined;
}

function planMount(mount: Mount, i: number, around: Around): PlannedMount {
  const options = parseMountOptions(mount);
  const type = mount.type ?? "";
  const { source } = mount;
  const covering = coveredBy(posix.resolve("/", mount.destination), around.before);
  const { tree } = around;
  const destination = destinationOf(mount, type, covering, tree);
  const why = `mounts[${i}] ${destination}`;
  if (destination === "/") throw invalid(`mount ${source ?? type} on /: the root comes from root.path`);
  const planned: PlannedMount = {
    why,
    destination,
    options,
    kind: options.bind ? "bind" : type === "cgroup" || type === "cgroup2" ? "cgroup" : "filesystem",
    type,
    source,
    number: 0,
    sourceIsDirectory: true,
    given: undefined,
  };
  if (options.remount) return planRemount(planned, around.before);
  if (destination.startsWith("/proc/") && !PROC_MAY_COVER.has(destination)) {
    throw invalid(`mount ${source ?? type} on ${destination}: nothing may be mounted inside /proc`);
  }
  if (destination === "/proc" && type !== "proc" && !options.bind) {
    throw invalid(`mount ${type} on /proc: only proc may be mounted there`);
  }
  planIdmap(planned, mount, around.userns);
  if (options.copyUp && (type !== "tmpfs" || options.bind)) {
    throw invalid(`mount on ${destination}: tmpcopyup is an option of tmpfs`);
  }
  if (planned.kind === "bind") planBind(planned);
  else if (planned.kind === "filesystem") {
    if (!type) throw invalid(`mount on ${destination}: no type, and not a bind mount`);
    if (around.label && !["proc", "sysfs", "mqueue"].includes(type)) options.data.push(["context", around.label]);
    if (type === "tmpfs" && !options.data.some(([key]) => key === "mode")) {
      const mode = covering && isFresh(covering) ? undefined : modeOf(tree, destination);
      if (mode !== undefined) options.data.push(["mode", mode.toString(8)]);
    }
  } else if (around.label) options.data.push(["context", around.label]);
  return planned;
}

function planBind(planned: PlannedMount): void {
  const { destination, source, options } = planned;
  if (options.data.length > 0) {
    const words = options.data.map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).join(",");
    throw invalid(
      `bind mount on ${destination}: bind mounts cannot have any filesystem-specific options applied: ${words}`,
    );
  }
  if (!source?.startsWith("/")) throw invalid(`bind mount on ${destination}: the source must be absolute`);
  try {
    planned.sourceIsDirectory = statSync(source).isDirectory();
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw error;
    throw invalid(`bind source path does not exist: ${source}`);
  }
  // What the runtime and the container take for /proc must be it (CVE-2019-16884).
  const isProc = () => statfsSync(source).type === PROC_SUPER_MAGIC && statSync(source).ino === PROC_ROOT_INO;
  if (destination === "/proc" && !isProc()) {
    throw invalid(`bind mount of ${source} on /proc: it is no proc file system`);
  }
  // The cgroups below a bind of /sys are as closed as itself (CVE-2023-25809).
  if (options.set & k.MOUNT_ATTR_RDONLY && options.recursive && /^\/sys(\/fs(\/cgroup)?)?\/?$/.test(source)) {
    if (!(options.recursiveClear & k.MOUNT_ATTR_RDONLY)) options.recursiveSet |= k.MOUNT_ATTR_RDONLY;
  }
}

function planIdmap({ destination, options }: PlannedMount, mount: Mount, userns: boolean): void {
  const [uids, gids] = [mount.uidMappings?.length ?? 0, mount.gidMappings?.length ?? 0];
  if (uids > 0 !== gids > 0) {
    throw invalid(`mount on ${destination}: uidMappings and gidMappings must be given together`);
  }
  if (uids > 0) {
    if (options.idmap === "no") options.idmap = "mount";
  } else if (options.idmap !== "no" && !userns) {
    throw invalid(`mount on ${destination}: idmap needs uidMappings and gidMappings, or a user namespace`);
  }
}

function planRemount(planned: PlannedMount, before: readonly PlannedMount[]): PlannedMount {
  const { destination, options } = planned;
  const target = before.findLast((m) => m.destination === destination && m.kind !== "remount");
  if (!target) throw invalid(`remount of ${destination}: no earlier entry of mounts is there`);
  // A superblock that others see too keeps its flags: only the mount of it changes.
  const mountOnly = options.bind || target.kind !== "filesystem" || !ownsSuperblock(target.type);
  if (mountOnly && options.data.length > 0) {
    throw invalid(`remount of ${destination}: only flags of the mount can change, not ${options.data[0]![0]}`);
  }
  return { ...planned, kind: "remount", options: { ...options, bind: mountOnly }, type: target.type };
}

const isInside = (path: string, directory: string) => path === directory || isBelow(path, directory);

/** The mount that `path` lies on: of those on the way to it, the last. Undefined is the root's. */
export function coveredBy(path: string, before: readonly PlannedMount[]): PlannedMount | undefined {
  return before.findLast((m) => m.kind !== "remount" && isInside(path, m.destination));
}

/** Holds nothing of the image or of the host, and so no symlink. */
export const isFresh = ({ kind, options }: PlannedMount) => kind !== "bind" && !options.copyUp;

/** Checked after it is resolved: otherwise an image's symlink would lead into /proc (CVE-2019-16884). */
function destinationOf(mount: Mount, type: string, covering: PlannedMount | undefined, tree: Tree): string {
  const destination = posix.resolve("/", mount.destination);
  // Where proc and sysfs go no symlink is followed at all (CVE-2019-19921, CVE-2023-27561).
  const strict = type === "proc" || type === "sysfs" || destination === "/dev" || isInside(destination, "/proc");
  if (strict || (covering && isFresh(covering))) return destination;
  const resolved = resolveInTree(tree, destination);
  if (resolved !== destination && ["/dev", "/proc", "/sys"].includes(resolved))
    throw invalid(`mount on ${destination}: the image has a symlink to ${resolved} there`);
  return resolved;
}

/** As mount(8) and runc: a tmpfs has the mode of what it covers. */
function modeOf(tree: Tree, path: string): number | undefined {
  const fd = openInTree(tree, path);
  if (fd === undefined) return undefined;
  try {
    const { mode } = statat(fd, "");
    return (mode & k.S_IFMT) === k.S_IFDIR ? mode & 0o7777 : undefined;
  } finally {
    close(fd);
  }
}
