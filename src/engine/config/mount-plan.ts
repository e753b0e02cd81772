import { posix } from "node:path";
import { invalid } from "../../base/errors.ts";
import type { ContainerConfig, HostConfig, MountRequest } from "../../spec/docker-api.ts";
import { tmpfsOptions } from "./tmpfs-options.ts";
import {
  checkDestination,
  checkVolumeName,
  hostPath,
  PROPAGATIONS,
  type Propagation,
  parseVolume,
} from "./volume-spec.ts";

/**
 * A mount that a container asks for. Before a launch the engine replaces `source` of volumes by the host path of their
 * data (and of their `subpath`), and makes bind sources that are to be made.
 */
export interface PlannedMount {
  type: "bind" | "volume" | "tmpfs";
  /** Bind: host path. Volume: its name, "" for an anonymous one. tmpfs: "". */
  source: string;
  /** Clean, absolute. */
  destination: string;
  readOnly: boolean;
  /** Read-only for submounts too: if the kernel can (default), or never, or refuse where it cannot. */
  readOnlySubmounts: "try" | "no" | "must";
  propagation: Propagation;
  /** Without submounts of the source. */
  nonRecursive: boolean;
  /** Volume: do not fill it from the image. */
  noCopy: boolean;
  /** Volume: the directory in it, relative, without `..`. */
  subpath?: string;
  /** Bind: a missing source is made (a directory), not an error. */
  createSource: boolean;
  /** Volume: labels for a new one. */
  labels?: Record<string, string>;
  /** Volume: the local driver's options for a new one. */
  driverOptions?: Record<string, string>;
  /** tmpfs: complete mount options. */
  options?: string[];
  /** Option text as given, for MountPoint.Mode. */
  mode: string;
}

const base = {
  readOnly: false,
  readOnlySubmounts: "try",
  propagation: "rprivate",
  nonRecursive: false,
  noCopy: false,
  createSource: false,
  mode: "",
} as const;

function fromBind(text: string): PlannedMount {
  const { type, source, destination, readOnly, propagation = "rprivate", noCopy, mode } = parseVolume(text);
  return { ...base, type, source, destination, readOnly, propagation, noCopy, mode, createSource: type === "bind" };
}

/** One of HostConfig.Mounts; the option block must be that of the type. */
function fromRequest(mount: MountRequest): PlannedMount {
  const fail = (why: string) => invalid(`invalid mount config for type "${mount.Type}": ${why}`);
  const { BindOptions: bind, VolumeOptions: volume, TmpfsOptions: tmpfs, Source: source = "" } = mount;
  if (bind && mount.Type !== "bind") throw fail("field BindOptions must not be specified");
  if (volume && mount.Type !== "volume") throw fail("field VolumeOptions must not be specified");
  if (tmpfs && mount.Type !== "tmpfs") throw fail("field TmpfsOptions must not be specified");
  if (mount.Target === "") throw fail("field Target must not be empty");
  const destination = checkDestination(mount.Target);
  const common = { ...base, type: mount.Type, source, destination, readOnly: mount.ReadOnly ?? false };

  if (mount.Type === "bind") {
    if (source === "") throw fail("field Source must not be empty");
    const propagation = (bind?.Propagation || "rprivate") as Propagation;
    if (!PROPAGATIONS.includes(propagation)) throw fail(`invalid propagation mode: ${propagation}`);
    if (bind?.ReadOnlyNonRecursive && bind.ReadOnlyForceRecursive) {
      throw fail("ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive");
    }
    if ((bind?.ReadOnlyNonRecursive || bind?.ReadOnlyForceRecursive) && !common.readOnly) {
      throw fail("recursive read-only options need a read-only mount");
    }
    if (bind?.ReadOnlyForceRecursive && propagation !== "rprivate") {
      throw fail("ReadOnlyForceRecursive needs propagation rprivate");
    }
    return {
      ...common,
      source: hostPath(source),
      propagation,
      nonRecursive: bind?.NonRecursive ?? false,
      createSource: bind?.CreateMountpoint ?? false,
      readOnlySubmounts: bind?.ReadOnlyForceRecursive ? "must" : bind?.ReadOnlyNonRecursive ? "no" : "try",
    };
  }
  if (mount.Type === "volume") {
    if (source !== "") checkVolumeName(source);
    const subpath = volume?.Subpath;
    if (subpath && (subpath.startsWith("/") || subpath.split("/").includes(".."))) {
      throw fail("Subpath must be a relative path within the volume");
    }
    if (subpath && source === "") throw fail("must not set Subpath when using anonymous volumes");
    return {
      ...common,
      noCopy: volume?.NoCopy ?? false,
      ...(subpath ? { subpath: posix.normalize(subpath) } : {}),
      ...(volume?.Labels ? { labels: volume.Labels } : {}),
    };
  }
  if (source !== "") throw fail("field Source must not be specified");
  const { SizeBytes: size = 0, Mode: mode = 0 } = tmpfs ?? {};
  if (size < 0) throw fail("SizeBytes must not be negative");
  if (mode < 0 || mode > 0o7777) throw fail("Mode must be a file mode");
  const words = [
    ...(common.readOnly ? ["ro"] : []),
    ...(size > 0 ? [`size=${size}`] : []),
    ...(mode > 0 ? [`mode=${mode.toString(8)}`] : []),
  ];
  return { ...common, options: tmpfsOptions(words.join(",")) };
}

const depth = (path: string) => path.split("/").length;

/**
 * All mounts of a container, parents before what is mounted in them. Two of Binds, Mounts and Tmpfs at one place are
 * invalid; any of them takes the place of an anonymous volume (Config.Volumes, also the image's).
 */
export function planMounts(config: ContainerConfig, host: HostConfig): PlannedMount[] {
  const at = new Map<string, PlannedMount>();
  const add = (mount: PlannedMount) => {
    if (at.has(mount.destination)) throw invalid(`Duplicate mount point: ${mount.destination}`);
    at.set(mount.destination, mount);
  };
  for (const text of host.Binds ?? []) add(fromBind(text));
  for (const mount of host.Mounts ?? []) add(fromRequest(mount));
  for (const [path, text] of Object.entries(host.Tmpfs ?? {})) {
    const options = tmpfsOptions(text);
    const readOnly = options.includes("ro");
    add({ ...base, type: "tmpfs", source: "", destination: checkDestination(path), readOnly, options, mode: text });
  }
  for (const text of Object.keys(config.Volumes ?? {})) {
    const spec = parseVolume(text);
    if (spec.type === "bind") throw invalid(`invalid volume specification: '${text}': a bind belongs into Binds`);
    const destination = spec.destination;
    if (!at.has(destination))
      at.set(destination, { ...base, type: "volume", source: spec.source, destination, mode: spec.mode });
  }
  return [...at.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}
