import { posix } from "node:path";
import { invalid, notFound } from "../../base/errors.ts";
import type { ContainerConfig, HostConfig, MountRequest } from "../../spec/docker-api.ts";
import { tmpfsOptions } from "./tmpfs-options.ts";
import {
  checkDestination,
  checkVolumeName,
  hostPath,
  PROPAGATIONS,
  type Propagation,
  parseVolume,
  within,
} from "./volume-spec.ts";

/**
 * A mount that a container asks for. Before a launch the engine replaces `source` of volumes by the host path of their
 * data (and of their `subpath`), and makes bind sources that are to be made.
 */
export interface PlannedMount {
  type: "bind" | "volume" | "tmpfs" | "image";
  /** Bind: host path. Volume: its name, "" for an anonymous one. Image: its name. tmpfs: "". */
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
  /** Volume and image: the directory in it, relative, without `..`. */
  subpath?: string;
  /** Bind: a missing source is made (a directory), not an error. */
  createSource: boolean;
  /** Bind: the source must be below this directory of the host, whatever symlinks are on the way at the start. */
  beneath?: string;
  /** Volume: labels for a new one. */
  labels?: Record<string, string>;
  /** Volume: the local driver's options for a new one. */
  driverOptions?: Record<string, string>;
  /** Image: its id. */
  imageId?: string;
  /** At a launch, of a volume: the file system to mount in place of a directory. */
  filesystem?: { type: string; device: string; words: string[] };
  /** tmpfs: complete mount options. At a launch, of a volume: more of them. */
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

/** What docker shows as the mode of a volume that was asked for without one. */
const SHARED = "z";

function fromBind(text: string): PlannedMount {
  const { type, source, destination, readOnly, propagation = "rprivate", noCopy, mode } = parseVolume(text);
  return {
    ...base,
    ...{ type, source, destination, readOnly, propagation, noCopy },
    mode: type === "volume" ? mode || SHARED : mode,
    createSource: type === "bind",
  };
}

/** One of HostConfig.Mounts; the option block must be that of the type. */
function fromRequest(mount: MountRequest): PlannedMount {
  const fail = (why: string) => invalid(`invalid mount config for type "${mount.Type.slice(0, 64)}": ${why}`);
  const { BindOptions: bind, VolumeOptions: volume, Source: source = "" } = mount;
  if (bind && mount.Type !== "bind") throw fail("field BindOptions must not be specified");
  if (volume && mount.Type !== "volume") throw fail("field VolumeOptions must not be specified");
  if (mount.ImageOptions && mount.Type !== "image") throw fail("field ImageOptions must not be specified");
  if (mount.TmpfsOptions && mount.Type !== "tmpfs") throw fail("field TmpfsOptions must not be specified");
  if (!["bind", "volume", "tmpfs", "image"].includes(mount.Type)) throw fail("mount type unknown");
  if (mount.Target === "") throw fail("field Target must not be empty");
  const destination = within(fail, () => checkDestination(mount.Target));
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
      source: within(fail, () => hostPath(source)),
      propagation,
      nonRecursive: bind?.NonRecursive ?? false,
      createSource: bind?.CreateMountpoint ?? false,
      readOnlySubmounts: bind?.ReadOnlyForceRecursive ? "must" : bind?.ReadOnlyNonRecursive ? "no" : "try",
    };
  }
  if (mount.Type === "volume") {
    if (source !== "") checkVolumeName(source);
    else if (volume?.Subpath) throw fail("must not set Subpath when using anonymous volumes");
    else if (common.readOnly) throw fail("must not set ReadOnly mode when using anonymous volumes");
    return {
      ...common,
      mode: SHARED,
      noCopy: volume?.NoCopy ?? false,
      ...subpathOf(volume?.Subpath, fail),
      ...(volume?.Labels ? { labels: volume.Labels } : {}),
      ...driverOf(volume?.DriverConfig, source),
    };
  }
  if (mount.Type === "image") {
    if (source === "") throw fail("field Source must not be empty");
    return { ...common, readOnly: true, ...subpathOf(mount.ImageOptions?.Subpath, fail) };
  }
  if (source !== "") throw fail("field Source must not be specified");
  return { ...common, options: requestedTmpfs(mount.TmpfsOptions, common.readOnly, fail) };
}

type Fail = (why: string) => Error;

function subpathOf(subpath: string | undefined, fail: Fail): { subpath?: string } {
  if (!subpath) return {};
  if (subpath.startsWith("/") || subpath.split("/").includes("..")) {
    throw fail("subpath must be a relative path within the volume");
  }
  return { subpath: posix.normalize(subpath) };
}

function driverOf(
  config: { Name?: string; Options?: Record<string, string> } = {},
  volume: string,
): Pick<PlannedMount, "driverOptions"> {
  checkDriver(config.Name ?? "", volume);
  return config.Options && Object.keys(config.Options).length > 0 ? { driverOptions: config.Options } : {};
}

function requestedTmpfs(tmpfs: MountRequest["TmpfsOptions"], readOnly: boolean, fail: Fail): string[] {
  const { SizeBytes: size = 0, Mode: mode = 0, Options: options = [] } = tmpfs ?? {};
  if (size < 0) throw fail("SizeBytes must not be negative");
  if (mode < 0 || mode > 0o7777) throw fail("Mode must be a file mode");
  const asked = options.map((words) => {
    if (words.length !== 1 && words.length !== 2) throw fail("invalid option array length");
    if (words.some((word) => /[,=]/.test(word))) throw fail(`invalid option: ${words.join("=").slice(0, 64)}`);
    return words.join("=");
  });
  const words = [
    ...(readOnly ? ["ro"] : []),
    ...(size > 0 ? [`size=${size}`] : []),
    ...(mode > 0 ? [`mode=${mode.toString(8)}`] : []),
    ...asked,
  ];
  return tmpfsOptions(words.join(","));
}

const depth = (path: string) => path.split("/").length;

/** Whether a mount is one of HostConfig.Tmpfs, which docker's answers do not list as mounts. */
export function isTmpfsOption({ type, destination }: PlannedMount, { Tmpfs }: HostConfig): boolean {
  return type === "tmpfs" && Object.keys(Tmpfs ?? {}).some((path) => checkDestination(path) === destination);
}

/**
 * All mounts of a container, parents before what is mounted in them. Two of Binds, Mounts and Tmpfs at one place are
 * invalid; any of them takes the place of one that is `inherited` (VolumesFrom), and that of an anonymous volume
 * (Config.Volumes, also the image's).
 */
export function planMounts(
  config: ContainerConfig,
  host: HostConfig,
  inherited: readonly PlannedMount[] = [],
): PlannedMount[] {
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
  // Of several containers to inherit from the last one counts.
  for (const mount of inherited.toReversed()) if (!at.has(mount.destination)) add(mount);
  for (const text of Object.keys(config.Volumes ?? {})) {
    const spec = parseVolume(text);
    if (spec.type === "bind") throw invalid(`invalid volume specification: '${text}': a bind belongs into Binds`);
    const destination = spec.destination;
    if (!at.has(destination))
      at.set(destination, { ...base, type: "volume", source: spec.source, destination, mode: spec.mode });
  }
  const { VolumeDriver: driver = "" } = host;
  for (const { type, source } of at.values()) if (type === "volume") checkDriver(driver, source);
  return [...at.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}

/** Throws notFound for all but the one driver there is. */
export function checkDriver(driver: string, volume: string): void {
  if (driver === "" || driver === "local") return;
  const name = driver.slice(0, 256);
  throw notFound(
    `create ${volume.slice(0, 256)}: error looking up volume plugin ${name}: plugin ${JSON.stringify(name)} not found`,
  );
}
