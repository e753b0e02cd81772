import { mkdirSync } from "node:fs";
import { newId } from "../base/digest.ts";
import { conflict, InroError, messageOf, notFound, notImplemented } from "../base/errors.ts";
import { sizesInChild } from "../layers/apply-command.ts";
import type { Running } from "../runtime/running.ts";
import type { Volume, VolumePruneResponse } from "../spec/docker-api.ts";
import { map, object, text } from "./config/fields.ts";
import { checkDriver, type PlannedMount } from "./config/mount-plan.ts";
import { checkVolumeName } from "./config/volume-spec.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { readBoolean } from "./filters.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Filters } from "./requests.ts";
import type { VolumeRecord } from "./store.ts";
import { VolumeCopies } from "./volumes/copies.ts";
import { HeldMounts } from "./volumes/held.ts";
import { ANONYMOUS_LABEL } from "./volumes/labels.ts";
import { volumeFilter } from "./volumes/list.ts";
import { localVolume } from "./volumes/local-options.ts";

interface CreateRequest {
  Name?: string;
  Driver?: string;
  DriverOpts?: Record<string, string>;
  Labels?: Record<string, string>;
  ClusterVolumeSpec?: never;
}

const createRequest = object<CreateRequest>({
  Name: text,
  Driver: text,
  DriverOpts: map(text),
  Labels: map(text),
  ClusterVolumeSpec: () => {
    throw notImplemented("cluster volumes are not supported: they need a swarm");
  },
});

/** What outlives containers: directories at <data-root>/volumes/<name>/_data, and whatever the local driver's options name. */
export class Volumes {
  readonly held = new HeldMounts();
  /** Copies of image content into volumes, by name. */
  readonly filling = new Map<string, Promise<void>>();
  #pruning = false;
  /** Volumes whose data is being copied: only read, or made and so nobody's yet. */
  readonly copying = new Map<string, "read" | "made">();
  readonly copies = new VolumeCopies(this);

  constructor(readonly ctx: Context) {}

  /**
   * `body` is the untrusted VolumeCreateRequest. The same name again answers with the existing one; other options than
   * its own are a conflict.
   */
  async create(body: unknown): Promise<Volume> {
    const {
      Name: name = "",
      Driver: driver = "local",
      DriverOpts: options,
      Labels: labels,
    } = createRequest(body ?? {}, "");
    checkDriver(driver, name);
    if (name !== "") checkVolumeName(name);
    const known = name === "" ? undefined : this.ctx.store.volume(name);
    if (known) {
      checkSameOptions(known, options);
      return this.#shown(known);
    }
    this.#checkFree(name);
    const volume = this.draft(name, { labels, options });
    this.ctx.store.insertVolume(volume);
    this.makeDirectory(volume.name);
    this.created(volume);
    await this.ctx.store.sync();
    return this.#shown(volume);
  }

  /** By name. Unknown keys and bad values are invalid. */
  list(filters: Filters = new Map()): Volume[] {
    const used = this.useCounts();
    const wanted = volumeFilter(filters, (name) => used.has(name));
    return this.ctx.store
      .volumes()
      .filter(wanted)
      .map((volume) => this.#shown(volume));
  }

  inspect(name: string): Volume {
    return this.#shown(this.record(name));
  }

  /** In use by a container: conflict. `force` ignores a missing one. */
  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    if (!this.ctx.store.volume(name)) {
      if (options.force) return;
      throw noSuchVolume(name);
    }
    const users = this.usersOf(name);
    if (users.length > 0) throw conflict(`remove ${name}: volume is in use - [${users.join(", ")}]`);
    if (this.copying.has(name)) throw conflict(`remove ${name}: volume is in use: it is being copied`);
    this.discard(name);
    await this.ctx.store.sync();
  }

  /** Those that no container mounts: anonymous ones, with the filter `all` (and `everything`, before API 1.42) named ones too. */
  async prune(filters: Filters = new Map(), everything = false): Promise<VolumePruneResponse> {
    const all = readBoolean(filters, "all") ?? everything;
    if (this.#pruning) throw conflict("a prune operation is already running");
    this.#pruning = true;
    try {
      const unused = ({ name, anonymous, labels }: VolumeRecord) =>
        (all || anonymous) && labelsMatch(labels, filters) && !this.copying.has(name);
      const used = this.useCounts();
      const chosen = this.ctx.store.volumes().filter((volume) => !used.has(volume.name) && unused(volume));
      const sizes = await sizesInChild(chosen.map(({ name }) => this.ctx.paths.volume(name)));
      const response: VolumePruneResponse = { VolumesDeleted: [], SpaceReclaimed: 0 };
      for (const [i, { name }] of chosen.entries()) {
        // Since then it may have come into use.
        const volume = this.ctx.store.volume(name);
        if (!volume || !unused(volume) || this.usersOf(name).length > 0) continue;
        this.discard(name);
        response.VolumesDeleted.push(name);
        response.SpaceReclaimed += sizes[i]!;
      }
      await this.ctx.store.sync();
      this.ctx.events.emit("volume", "prune", "", { reclaimed: String(response.SpaceReclaimed) });
      return response;
    } finally {
      this.#pruning = false;
    }
  }

  has(name: string): boolean {
    return this.ctx.store.volume(name) !== undefined;
  }

  #checkFree(name: string): void {
    if (this.copying.has(name)) throw conflict(`the volume name ${name} is taken: a copy of that name is being made`);
  }

  /** Throws notFound. */
  record(name: string): VolumeRecord {
    const volume = this.ctx.store.volume(name);
    if (!volume) throw noSuchVolume(name);
    return volume;
  }

  /** A record for a volume that is not there yet; "" is an anonymous one. Bad options are invalid. */
  draft(
    name: string,
    {
      labels = {},
      options,
    }: { labels?: Record<string, string> | undefined; options?: Record<string, string> | undefined } = {},
  ): VolumeRecord {
    const created = new Date().toISOString();
    try {
      localVolume(options);
    } catch (error) {
      if (!(error instanceof InroError)) throw error;
      throw new InroError(error.kind, `create ${name}: ${error.message}`, { cause: error });
    }
    const more = options && Object.keys(options).length > 0 ? { options } : {};
    if (name !== "") return { name, created, labels, anonymous: false, ...more };
    return { name: newId(), created, labels: { ...labels, [ANONYMOUS_LABEL]: "" }, anonymous: true, ...more };
  }

  /** Gives each planned volume its name, and says which records a new container needs besides its own. */
  plan(mounts: PlannedMount[]): { mounts: PlannedMount[]; volumes: VolumeRecord[]; anonymous: string[] } {
    const volumes: VolumeRecord[] = [];
    const named = mounts.map((mount): PlannedMount => {
      if (mount.type !== "volume") return mount;
      const known = volumes.find(({ name }) => name === mount.source) ?? this.ctx.store.volume(mount.source);
      if (known) {
        checkSameOptions(known, mount.driverOptions);
        return known.snapshotOf === undefined ? mount : { ...mount, readOnly: true };
      }
      this.#checkFree(mount.source);
      const volume = this.draft(mount.source, { labels: mount.labels, options: mount.driverOptions });
      volumes.push(volume);
      return { ...mount, source: volume.name };
    });
    return { mounts: named, volumes, anonymous: volumes.filter((v) => v.anonymous).map((v) => v.name) };
  }

  created({ name }: VolumeRecord): void {
    this.ctx.events.emit("volume", "create", name, { driver: "local" });
  }

  makeDirectory(name: string): string {
    const path = this.ctx.paths.volumeData(name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  /** Removes data and record. The record goes last, so that a crash leaves nothing unknown. */
  discard(name: string): void {
    this.ctx.trash.discard(this.ctx.paths.volume(name));
    this.ctx.store.deleteVolume(name);
    this.ctx.events.emit("volume", "destroy", name, { driver: "local" });
  }

  /** How many containers mount each volume that is mounted at all. */
  useCounts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { record } of this.ctx.table.all()) {
      for (const name of new Set(volumesOf(record.mounts))) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** Ids of the containers that mount it. */
  usersOf(name: string): string[] {
    return this.containersOf(name).map(({ id }) => id);
  }

  containersOf(name: string): Container[] {
    return this.ctx.table.all().filter(({ record }) => volumesOf(record.mounts).includes(name));
  }

  /** A container runs with its volumes. */
  mounted({ id, record }: Container): void {
    for (const { type, source, destination, readOnly } of record.mounts) {
      if (type !== "volume") continue;
      const access = String(!readOnly);
      const attributes = { container: id, destination, driver: "local", propagation: "", "read/write": access };
      this.ctx.events.emit("volume", "mount", source, attributes);
    }
  }

  /** It does not any more. */
  unmounted({ id, record }: Container): void {
    this.held.release(id);
    for (const { type, source } of record.mounts) {
      if (type === "volume") this.ctx.events.emit("volume", "unmount", source, { container: id, driver: "local" });
    }
  }

  /** After an engine's end the file systems of a container that runs on come from its keeper. */
  adopt({ id, record }: Container, running: Running): void {
    const memory = new Set(volumesOf(record.mounts).filter((name) => this.#isTmpfs(name)));
    for (const [i, name] of [...memory].entries()) {
      try {
        this.held.take(name, id, () => running.kept(i));
      } catch (error) {
        // Whoever starts with it now gets another one, and this container keeps its own.
        this.ctx.log(`volume ${name} of container ${id.slice(0, 12)}: ${messageOf(error)}`);
      }
    }
  }

  #isTmpfs(name: string): boolean {
    return localVolume(this.ctx.store.volume(name)?.options).kind === "tmpfs";
  }

  #shown({ name, created, labels, options, snapshotOf }: VolumeRecord): Volume {
    return {
      CreatedAt: created.replace(/\.\d+Z$/, "Z"),
      Driver: "local",
      Labels: Object.keys(labels).length > 0 ? sorted(labels) : null,
      Mountpoint: this.ctx.paths.volumeData(name),
      Name: name,
      Options: options ? sorted(options) : null,
      Scope: "local",
      ...(snapshotOf === undefined ? {} : { Status: { SnapshotOf: snapshotOf } }),
    };
  }
}

const NONE: readonly string[] = [];

function volumesOf(mounts: readonly PlannedMount[]): readonly string[] {
  return mounts.length === 0 ? NONE : mounts.filter(({ type }) => type === "volume").map(({ source }) => source);
}

export const noSuchVolume = (name: string) => notFound(`get ${name.slice(0, 256)}: no such volume`);

/** By key, as Go prints maps. */
function sorted(map: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Asking for an existing volume with options that are not its own would give something else than what was asked for. */
function checkSameOptions({ name, options = {} }: VolumeRecord, asked: Record<string, string> | undefined): void {
  if (asked === undefined || Object.keys(asked).length === 0) return;
  if (JSON.stringify(sorted(options)) === JSON.stringify(sorted(asked))) return;
  throw conflict(`a volume named ${name} exists already with other options: remove it first, or choose another name`);
}
