import { mkdirSync, statSync } from "node:fs";
import { codeOf, conflict, invalid, notImplemented } from "../base/errors.ts";
import { openLayers } from "../layers/copy-directory.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2 } from "../linux/file.ts";
import { detachedFilesystem } from "../linux/mount.ts";
import { MAX_KEPT } from "../runtime/builder.ts";
import { kernelAtLeast } from "../runtime/rootfs.ts";
import { openBeneath } from "./bounds.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import type { Container } from "./container.ts";
import { type LocalVolume, localVolume } from "./volumes/local-options.ts";

type Local<K extends LocalVolume["kind"]> = Extract<LocalVolume, { kind: K }>;

import type { Volumes } from "./volumes.ts";

/** Mounts whose sources are host paths that exist. */
export interface MountSources {
  mounts: PlannedMount[];
  /** File systems that the keeper holds with us; they stay ours. */
  kept: number[];
  /** After the launch: lets go of what kept the sources valid. */
  close(): void;
}

/**
 * Makes volume directories and bind sources as the plan allows. A missing source is invalid, in docker's words. `forFiles`:
 * the container does not run with them, so nothing can be put into a tmpfs that goes with this.
 */
export function mountSources(volumes: Volumes, container: Container, { forFiles = false } = {}): MountSources {
  const sources = new Sources(volumes, container, forFiles);
  try {
    const mounts = container.record.mounts.map((mount) => sources.of(mount));
    return { mounts, kept: sources.kept, close: () => sources.close() };
  } catch (error) {
    sources.close();
    volumes.held.release(container.id);
    throw error;
  }
}

/** Of a descriptor of ours, for as long as it is open. */
const pathOf = (fd: number) => `/proc/${process.pid}/fd/${fd}`;

class Sources {
  readonly kept: number[] = [];
  readonly #open: number[] = [];

  constructor(
    private readonly volumes: Volumes,
    private readonly container: Container,
    private readonly forFiles: boolean,
  ) {}

  close(): void {
    for (const fd of this.#open.splice(0)) close(fd);
  }

  of(mount: PlannedMount): PlannedMount {
    if (mount.type === "tmpfs") return mount;
    if (mount.type === "bind") return mount.beneath === undefined ? bindSource(mount) : this.#beneath(mount);
    return mount.type === "image" ? this.#image(mount) : this.#volume(mount);
  }

  #beneath(mount: PlannedMount): PlannedMount {
    const fd = openBeneath(mount.beneath!, mount.source);
    this.#open.push(fd);
    return { ...mount, source: pathOf(fd) };
  }

  #volume(mount: PlannedMount): PlannedMount {
    const name = mount.source;
    const record = this.volumes.ctx.store.volume(name);
    const asked = record?.snapshotOf === undefined ? mount : { ...mount, readOnly: true };
    const copy = this.volumes.copying.get(name);
    if (copy === "made" || (copy === "read" && !asked.readOnly)) {
      throw conflict(`cannot mount volume ${name}: it is being copied, try again when that is done`);
    }
    const local = localVolume(record?.options);
    if (local.kind === "bind") return this.#bound(asked, local);
    if (local.kind === "tmpfs") return this.#tmpfs(asked, local);
    if (local.kind === "filesystem") return this.#filesystem(asked, local);
    return this.#within(asked, this.volumes.makeDirectory(name));
  }

  #bound(mount: PlannedMount, { device, recursive, readOnly, propagation }: Local<"bind">): PlannedMount {
    try {
      statSync(device);
    } catch (error) {
      throw invalid(`failed to mount local volume: mount ${device}: ${codeOf(error)}`, error);
    }
    const own = propagation ? { propagation } : {};
    return this.#within({ ...mount, nonRecursive: !recursive, readOnly: mount.readOnly || readOnly, ...own }, device);
  }

  #tmpfs(mount: PlannedMount, { data, flags }: Local<"tmpfs">): PlannedMount {
    const { held } = this.volumes;
    const name = mount.source;
    needsDetachedCopies(`volume ${name} of type tmpfs`);
    const lone = this.forFiles && held.get(name) === undefined;
    const fd = held.take(name, this.container.id, () => detachedFilesystem("tmpfs", "tmpfs", data));
    if (!this.kept.includes(fd)) this.kept.push(fd);
    if (this.kept.length > MAX_KEPT) throw invalid(`more than ${MAX_KEPT} volumes of type tmpfs`);
    return this.#within({ ...mount, options: flags, readOnly: mount.readOnly || lone }, pathOf(fd));
  }

  #filesystem(mount: PlannedMount, { type, device, words }: Local<"filesystem">): PlannedMount {
    const volume = `volume ${mount.source}, of type ${type},`;
    if (mount.subpath) throw notImplemented(`a subpath of ${volume} is not supported`);
    if (this.container.record.userns) {
      throw notImplemented(`${volume} in a user namespace is not supported: use userns host`);
    }
    checkDevice(mount.source, device);
    return { ...mount, source: device, filesystem: { type, device, words } };
  }

  #image(mount: PlannedMount): PlannedMount {
    const { ctx } = this.volumes;
    const layers = ctx.images.find(mount.imageId!).layers;
    if (layers.length === 1) return this.#within(mount, layers[0]!);
    needsDetachedCopies(`a mount of image ${mount.source}`);
    if (this.container.record.userns) {
      throw notImplemented(
        "mounts of images with several layers are not supported in a user namespace: use userns host",
      );
    }
    const fd = openLayers(layers);
    this.#open.push(fd);
    return this.#within(mount, pathOf(fd));
  }

  #within(mount: PlannedMount, root: string): PlannedMount {
    if (!mount.subpath) return { ...mount, source: root };
    const fd = openSubpath(root, mount.subpath, mount.source);
    this.#open.push(fd);
    return { ...mount, source: pathOf(fd) };
  }
}

/** open_tree(2) copies a mount that is attached nowhere since then. */
function needsDetachedCopies(what: string): void {
  if (!kernelAtLeast(6, 15)) throw notImplemented(`${what} needs Linux 6.15: older ones cannot share a detached mount`);
}

/** Throws invalid for a source that is missing, or that leads out of where it must be. */
export function checkBindSource(mount: PlannedMount): void {
  if (mount.beneath === undefined) bindSource(mount);
  else close(openBeneath(mount.beneath, mount.source));
}

/** Makes a source that is to be made; else a missing one is invalid. */
function bindSource(mount: PlannedMount): PlannedMount {
  try {
    statSync(mount.source);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw invalid(`bind source ${mount.source}: ${codeOf(error)}`, error);
    if (!mount.createSource) {
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`);
    }
    mkdirSync(mount.source, { recursive: true });
  }
  return mount;
}

function checkDevice(volume: string, device: string): void {
  // Of a network file system.
  if (!device.startsWith("/") || device.startsWith("//")) return;
  const stat = statSync(device, { throwIfNoEntry: false });
  if (!stat) throw invalid(`failed to mount local volume ${volume}: no such device: ${device}`);
  if (stat.isBlockDevice()) return;
  throw invalid(
    `failed to mount local volume ${volume}: ${device} is no block device; an image file needs a loop device (losetup --find --show ${device})`,
  );
}

/** A descriptor, not a path: whoever writes to the volume could put a symlink there after the check (CVE-2021-25741). */
function openSubpath(directory: string, subpath: string, of: string): number {
  const root = openat(k.AT_FDCWD, directory, k.O_PATH | k.O_DIRECTORY);
  try {
    return openat2(root, subpath, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
  } catch (error) {
    throw invalid(`cannot access path ${subpath} in ${of}: ${codeOf(error)}`, error);
  } finally {
    close(root);
  }
}
