import { existsSync } from "node:fs";
import { codeOf, notFound, SysError, unavailable } from "../base/errors.ts";
import type { DeviceRule, Resources } from "../spec/oci-runtime.ts";
import type { Context } from "./controller.ts";
import { ACCOUNTING, type Accounting, type Placement, place } from "./controllers.ts";
import { inheritCpuset } from "./cpuset.ts";
import { attachDevices, writeDevices } from "./devices.ts";
import { CgroupDirectory } from "./directory.ts";
import { freezeUnified, freezeV1 } from "./freezer.ts";
import { type Hierarchy, locate } from "./hierarchy.ts";
import { checkUnused, delegate, mkdir, tryRmdir } from "./make.ts";
import { ancestors, checkCgroupPath } from "./path.ts";
import { children, moveAll, processes } from "./processes.ts";
import { killEach, removeDirectories } from "./remove.ts";
import { type CgroupStats, cpuTime, readStats } from "./stats.ts";
import { settleType } from "./threaded.ts";
import { UndoDirectory } from "./undo.ts";
import { enableControllers, writeUnified } from "./unified.ts";

export interface CgroupOptions {
  /**
   * Takes the text for each setting that this kernel has nothing for and that can be discarded (block I/O weights,
   * swap accounting, swappiness, realtime). Absent: such a setting is an unavailable error.
   */
  warn?: (message: string) => void;
}

export interface CreateOptions extends CgroupOptions {
  /**
   * What {@link Cgroup.stats} must tell though nothing limits it. Each costs a directory in v1, so there the default is
   * processor time alone; in v2 all that is available.
   */
  account?: readonly Accounting[];
  /**
   * A directory in every v1 hierarchy, named ones too, and every v2 controller, and not only where a limit needs one:
   * what others read by path, or have limited above it, is then there, and the container is in no hierarchy's root,
   * whose release_agent a mount of it would show (CVE-2022-0492).
   */
  everywhere?: boolean;
  /** Somebody else has made it for us, and keeps it until we are there: that it has processes is no conflict. */
  occupied?: boolean;
  /** Host user who may make cgroups inside (cgroup-v2.rst, "Delegation"); only where all controllers are v2. */
  owner?: number;
}

/**
 * One container's cgroup: the directory of the same path in every hierarchy that is needed. In hybrid mode the cgroup2
 * directory, without controllers, always exists: it starts, freezes and kills the processes and holds the device
 * program. Holds no descriptors; the directories stay until {@link remove}.
 */
export class Cgroup {
  /** By mount point. */
  readonly #directories = new Map<string, CgroupDirectory>();
  readonly #hierarchy: Hierarchy;
  #occupied = false;
  readonly path: string;

  private constructor(hierarchy: Hierarchy, path: string) {
    this.#hierarchy = hierarchy;
    this.path = checkCgroupPath(path);
  }

  /**
   * Makes what the resources need and writes the limits; on failure nothing is left. `path` is like `/inro/<id>`. An
   * existing cgroup is taken if it is empty and not frozen, else a conflict error. Other errors: invalid (bad value),
   * unavailable (no such controller), SysError (the kernel refused).
   */
  static create(hierarchy: Hierarchy, path: string, resources: Resources, options: CreateOptions = {}): Cgroup {
    const cgroup = new Cgroup(hierarchy, path);
    cgroup.#occupied = options.occupied === true;
    const placement = place(hierarchy, resources);
    for (const name of placement.missing)
      context(true, options).warn(`limits of ${name}`, "no cgroup with this controller is delegated to this user");
    const made: string[] = [];
    try {
      const { unified, controllers } = hierarchy;
      if (unified !== undefined) {
        cgroup.#make(unified, made);
        settleType(unified, path, placement.required);
        if (hierarchy.mode === "v2" || placement.required.size > 0) {
          enableControllers(hierarchy, path, placement.required, wished(hierarchy, options));
        }
      } else {
        const freezer = controllers.get("freezer");
        if (freezer !== undefined) cgroup.#make(freezer, made);
      }
      for (const what of options.account ?? (unified === undefined ? (["cpu"] as const) : [])) {
        const mountpoint = controllers.get(ACCOUNTING[what]);
        // cgroup2 accounts processor time by itself.
        if (mountpoint !== undefined && !(what === "cpu" && unified !== undefined)) cgroup.#make(mountpoint, made);
      }
      for (const { mountpoint } of placement.writers) cgroup.#make(mountpoint, made);
      if (options.everywhere) for (const mountpoint of mountpoints(hierarchy)) cgroup.#make(mountpoint, made);
      cgroup.#write(placement, resources, context(true, options));
      // A user namespace can make no devices, so there is nothing to keep from.
      if (resources.devices !== undefined && resources.devices.length > 0 && !hierarchy.delegated) {
        cgroup.#restrictDevices(resources.devices, made);
      }
      if (options.owner !== undefined && hierarchy.mode === "v2") delegate(cgroup.unifiedDir!, options.owner);
      return cgroup;
    } catch (error) {
      for (const directory of made.toReversed()) tryRmdir(directory);
      throw error;
    }
  }

  /** The cgroup of an earlier engine: what exists of it. None at all is a notFound error. */
  static open(hierarchy: Hierarchy, path: string): Cgroup {
    const cgroup = new Cgroup(hierarchy, path);
    for (const mountpoint of mountpoints(hierarchy)) {
      if (existsSync(mountpoint + path)) {
        cgroup.#directories.set(mountpoint, new CgroupDirectory(mountpoint + path));
      }
    }
    if (cgroup.#directories.size === 0) throw notFound(`no cgroup ${path}`);
    return cgroup;
  }

  /** The cgroup2 directory, for CLONE_INTO_CGROUP. */
  get unifiedDir(): string | undefined {
    return this.#unified?.path;
  }

  /**
   * v1 files that a launched process of one thread must write `0` into to join. `tasks` and not `cgroup.procs`: moving
   * just oneself takes 10 us, a whole process waits for the lock that holds off forks (10 ms and more after idle).
   */
  get joinFiles(): string[] {
    return this.paths()
      .filter((path) => path !== this.unifiedDir)
      .map((path) => `${path}/tasks`);
  }

  /** The directory of a controller that v1 and v2 may name differently; undefined where the cgroup has none. */
  directoryOf(names: { v1?: string; v2?: string }): { version: 1 | 2; directory: CgroupDirectory } | undefined {
    const found = locate(this.#hierarchy, names);
    const directory = found && this.#directories.get(found.mountpoint);
    return found && directory && { version: found.version, directory };
  }

  /** The cgroup2 directory, which in hybrid mode has no controllers. */
  get unifiedDirectory(): CgroupDirectory | undefined {
    return this.#unified;
  }

  /** All its directories. */
  paths(): string[] {
    return [...this.#directories.values()].map(({ path }) => path);
  }

  /**
   * Writes the given limits, and leaves the others and the devices as they are. Where v1 needs one more directory, the
   * processes are moved into it. Errors as {@link create}; then the limits are as before.
   */
  update(resources: Resources, options: CgroupOptions = {}): void {
    const placement = place(this.#hierarchy, resources);
    if (placement.required.size > 0) {
      enableControllers(this.#hierarchy, this.path, placement.required, new Set());
    }
    const made: string[] = [];
    const before = new Set(this.#directories.keys());
    const undo = new Map<string, UndoDirectory>();
    try {
      for (const { mountpoint } of placement.writers) this.#make(mountpoint, made);
      for (const [mountpoint, { path }] of this.#directories) undo.set(mountpoint, new UndoDirectory(path));
      this.#write(placement, resources, context(false, options), undo);
    } catch (error) {
      for (const directory of undo.values()) directory.undo();
      for (const mountpoint of this.#directories.keys())
        if (!before.has(mountpoint)) this.#directories.delete(mountpoint);
      for (const directory of made.toReversed()) tryRmdir(directory);
      throw error;
    }
    for (const [mountpoint, directory] of this.#directories) {
      if (!before.has(mountpoint)) moveAll(() => this.pids(), directory);
    }
  }

  /** Resolves when all processes inside are stopped. */
  freeze(): Promise<void> {
    return this.#setFrozen(true);
  }

  /** Resolves when they may go on. */
  thaw(): Promise<void> {
    return this.#setFrozen(false);
  }

  /** SIGKILL to every process inside, frozen or not. Does not wait for their end. */
  killAll(): void {
    // A plain user's may be nowhere: then whoever ends its first process ends the pid namespace.
    if (this.#directories.size === 0) return;
    const unified = this.#unified;
    if (unified !== undefined) {
      try {
        unified.write("cgroup.kill", 1);
      } catch (error) {
        // cgroup.kill is Linux 5.14.
        if (codeOf(error) !== "ENOENT") throw error;
        killEach(unified.path);
      }
      return;
    }
    const freezer = this.#v1("freezer");
    // Frozen processes cannot fork meanwhile; a signal reaches them when thawed.
    freezer?.write("freezer.state", "FROZEN");
    try {
      killEach(this.#processDirectory);
    } finally {
      freezer?.write("freezer.state", "THAWED");
    }
  }

  /** Host pids of the processes inside, those of nested cgroups too. */
  pids(): number[] {
    return this.#directories.size === 0 ? [] : processes(this.#processDirectory);
  }

  /** Whether the kernel killed a process inside for lack of memory; false where memory is not accounted. */
  oomKilled(): boolean {
    const v2 = this.#unified?.table("memory.events").oom_kill ?? 0;
    const v1 = this.#v1("memory")?.table("memory.oom_control").oom_kill ?? 0;
    return v2 + v1 > 0;
  }

  /** Nanoseconds of CPU used since the start; undefined where nothing accounts it. */
  cpuTime(): number | undefined {
    return cpuTime((controller) => this.#v1(controller), this.#unified);
  }

  /** What was used, from whichever hierarchy accounts it. */
  stats(): CgroupStats {
    return readStats((controller) => this.#v1(controller), this.#unified);
  }

  /**
   * Kills what is left inside and removes the directories, with cgroups that the container made in them; parents stay.
   * Waits up to `timeout` ms for dying processes, then an unavailable error. Removing twice is fine.
   */
  async remove(options: { timeout?: number } = {}): Promise<void> {
    const freezer = this.#v1("freezer");
    // The frozen never die; without this the wait would be in vain.
    if (freezer?.tryRead("freezer.state") !== undefined) freezer.write("freezer.state", "THAWED");
    await removeDirectories(this.paths(), options.timeout ?? 5000);
  }

  get #unified(): CgroupDirectory | undefined {
    const { unified } = this.#hierarchy;
    return unified === undefined ? undefined : this.#directories.get(unified);
  }

  #v1(controller: string): CgroupDirectory | undefined {
    const mountpoint = this.#hierarchy.controllers.get(controller);
    return mountpoint === undefined || mountpoint === this.#hierarchy.unified
      ? undefined
      : this.#directories.get(mountpoint);
  }

  /** One that every process of the cgroup is in. */
  get #processDirectory(): string {
    return (this.#unified ?? this.#v1("freezer") ?? [...this.#directories.values()][0]!).path;
  }

  #make(mountpoint: string, made: string[]): void {
    if (this.#directories.has(mountpoint)) return;
    const path = mountpoint + this.path;
    for (let tries = 0; !mkdir(path, made); tries++) {
      // Another container's end may take an empty parent away again.
      if (tries === MAX_TRIES) throw new SysError("mkdir", path, 2);
      for (const above of ancestors(this.path)) mkdir(mountpoint + above, made);
    }
    const directory = new CgroupDirectory(path);
    if (!made.includes(path) && !this.#occupied) checkUnused(directory);
    if (mountpoint === this.#hierarchy.controllers.get("cpuset") && mountpoint !== this.#hierarchy.unified) {
      inheritCpuset(mountpoint, this.path);
    }
    this.#directories.set(mountpoint, directory);
  }

  #write(
    placement: Placement,
    resources: Resources,
    ctx: Context,
    directories: ReadonlyMap<string, CgroupDirectory> = this.#directories,
  ): void {
    for (const { controller, version, mountpoint } of placement.writers) {
      const directory = directories.get(mountpoint)!;
      if (version === 1) controller.v1!(directory, resources, ctx);
      else controller.v2!(directory, resources, ctx);
    }
    const { unified } = this.#hierarchy;
    if (resources.unified && unified !== undefined) writeUnified(directories.get(unified)!, resources.unified);
  }

  #restrictDevices(rules: readonly DeviceRule[], made: string[]): void {
    const v1 = this.#hierarchy.controllers.get("devices");
    if (this.#unified !== undefined) {
      try {
        attachDevices(this.#unified.path, rules);
        return;
      } catch (error) {
        if (!(error instanceof SysError) || v1 === undefined) throw error;
        // No programs here, but the v1 files can do it.
      }
    }
    if (v1 === undefined) throw unavailable("device rules need cgroup v2 or the v1 devices controller");
    this.#make(v1, made);
    writeDevices(this.#v1("devices")!, rules);
  }

  async #setFrozen(frozen: boolean): Promise<void> {
    const freezer = this.#v1("freezer");
    if (this.#unified !== undefined) await freezeUnified(this.#unified, frozen);
    else if (freezer !== undefined) await freezeV1(freezer, frozen);
    else throw unavailable("pausing needs cgroup v2 or the v1 freezer controller");
  }
}

const MAX_TRIES = 16;

/** Cgroup paths directly below `parent` (`/inro`) in any hierarchy, for finding leaks. */
export function listCgroups(hierarchy: Hierarchy, parent: string): string[] {
  checkCgroupPath(parent);
  const found = new Set<string>();
  for (const mountpoint of mountpoints(hierarchy)) {
    for (const name of children(mountpoint + parent)) found.add(`${parent}/${name}`);
  }
  return [...found].sort();
}

/** Removes a cgroup that others were made in, such as `/inro`, wherever it is empty. Whoever still uses it keeps it. */
export function removeEmptyParent(hierarchy: Hierarchy, parent: string): void {
  checkCgroupPath(parent);
  for (const mountpoint of mountpoints(hierarchy)) tryRmdir(mountpoint + parent);
}

/** The v2 controllers that nothing needs but their figures. */
function wished({ mode, controllers, unified }: Hierarchy, options: CreateOptions): Set<string> {
  if (mode !== "v2") return new Set();
  if (!options.everywhere) return new Set(options.account ?? ["memory", "cpu", "pids", "io"]);
  return new Set([...controllers.keys()].filter((name) => controllers.get(name) === unified));
}

/** Each hierarchy once. */
function mountpoints({ controllers, unified }: Hierarchy): Set<string> {
  return new Set([...(unified === undefined ? [] : [unified]), ...controllers.values()]);
}

function context(fresh: boolean, options: CgroupOptions): Context {
  return {
    fresh,
    warn(what, why) {
      if (options.warn === undefined) throw unavailable(`${what} cannot be set: ${why}`);
      options.warn(`${what} discarded: ${why}`);
    },
  };
}
