import { mkdirSync } from "node:fs";
import { newId } from "../base/digest.ts";
import { conflict, invalid, notFound } from "../base/errors.ts";
import { removeTreeInTurns } from "../layers/remove-tree.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { ZERO_TIME } from "./clock.ts";
import { record as objectOf } from "./config/fields.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import { checkVolumeName } from "./config/volume-spec.ts";
import type { EventLog } from "./events.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Paths } from "./paths.ts";
import type { Filters } from "./requests.ts";
import type { Store, VolumeRecord } from "./store.ts";
import type { ContainerTable } from "./table.ts";

/** GET /volumes/{name}. */
export interface Volume {
  Name: string;
  Driver: "local";
  Mountpoint: string;
  CreatedAt: string;
  Labels: Record<string, string>;
  Scope: "local";
  Options: Record<string, string>;
}

const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

/** Directories that outlive containers: <data-root>/volumes/<name>/_data. */
export class Volumes {
  constructor(
    private readonly store: Store,
    private readonly paths: Paths,
    private readonly table: ContainerTable,
    private readonly events: EventLog,
  ) {}

  /** `body` is the untrusted VolumeCreateRequest; the same name again answers with the existing one. */
  async create(body: unknown): Promise<Volume> {
    const request = objectOf(body ?? {}, "the request body");
    const { Name: name = "", Driver: driver = "local", DriverOpts: options, Labels: labels } = request;
    if (typeof name !== "string") throw invalid("invalid volume: Name must be a string");
    if (driver !== "" && driver !== "local")
      throw notFound(`error looking up volume plugin ${String(driver)}: not found`);
    if (options && Object.keys(options).length > 0) throw invalid("invalid volume: driver options are not supported");
    if (name !== "") checkVolumeName(name);
    const volume = this.store.volume(name) ?? this.draft(name, stringMap(labels));
    this.store.insertVolume(volume);
    this.makeDirectory(volume.name);
    this.events.emit("volume", "create", volume.name, { driver: "local" });
    return this.#inspect(volume);
  }

  list(filters: Filters = new Map()): Volume[] {
    return this.store
      .volumes()
      .filter((volume) => this.#matches(volume, filters))
      .map((volume) => this.#inspect(volume));
  }

  inspect(name: string): Volume {
    const volume = this.store.volume(name);
    if (!volume) throw notFound(`get ${name.slice(0, 256)}: no such volume`);
    return this.#inspect(volume);
  }

  /** In use by a container: conflict. `force` ignores a missing one. */
  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    if (!this.store.volume(name)) {
      if (options.force) return;
      throw notFound(`get ${name.slice(0, 256)}: no such volume`);
    }
    const users = this.usersOf(name);
    if (users.length > 0) throw conflict(`remove ${name}: volume is in use - [${users.join(", ")}]`);
    await this.discard(name);
  }

  /** Filter `all`: named ones too. */
  async prune(filters: Filters = new Map()): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
    const all = filters.get("all")?.some((value) => !["", "0", "no", "false", "none"].includes(value.toLowerCase()));
    const deleted: string[] = [];
    for (const volume of this.store.volumes()) {
      if (!all && !volume.anonymous) continue;
      if (!labelsMatch(volume.labels, filters) || this.usersOf(volume.name).length > 0) continue;
      await this.discard(volume.name);
      deleted.push(volume.name);
    }
    return { VolumesDeleted: deleted, SpaceReclaimed: 0 };
  }

  /** A record for a volume that is not there yet; "" is an anonymous one. */
  draft(name: string, labels: Record<string, string> = {}): VolumeRecord {
    const created = new Date().toISOString();
    if (name !== "") return { name, created, labels, anonymous: false };
    return { name: newId(), created, labels: { ...labels, [ANONYMOUS_LABEL]: "" }, anonymous: true };
  }

  /** Gives each planned volume its name, and says which records a new container needs besides its own. */
  plan(mounts: PlannedMount[]): { mounts: PlannedMount[]; volumes: VolumeRecord[]; anonymous: string[] } {
    const volumes: VolumeRecord[] = [];
    const named = mounts.map((mount) => {
      if (mount.type !== "volume") return mount;
      if (mount.source !== "" && this.store.volume(mount.source)) return mount;
      const volume = this.draft(mount.source, mount.labels);
      volumes.push(volume);
      return { ...mount, source: volume.name };
    });
    return { mounts: named, volumes, anonymous: volumes.filter((v) => v.anonymous).map((v) => v.name) };
  }

  makeDirectory(name: string): string {
    const path = this.paths.volumeData(name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  /** Removes data and record. The record goes last, so that a crash leaves nothing unknown. */
  async discard(name: string): Promise<void> {
    const fd = openat(k.AT_FDCWD, this.paths.volumes, k.O_RDONLY | k.O_DIRECTORY);
    try {
      await removeTreeInTurns(fd, name);
    } finally {
      close(fd);
    }
    this.store.deleteVolume(name);
    this.events.emit("volume", "destroy", name, { driver: "local" });
  }

  /** Ids of the containers that mount it. */
  usersOf(name: string): string[] {
    const uses = (mounts: PlannedMount[]) => mounts.some(({ type, source }) => type === "volume" && source === name);
    return this.table
      .all()
      .filter(({ record }) => uses(record.mounts))
      .map(({ id }) => id);
  }

  #inspect({ name, created, labels }: VolumeRecord): Volume {
    return {
      Name: name,
      Driver: "local",
      Mountpoint: this.paths.volumeData(name),
      CreatedAt: created || ZERO_TIME,
      Labels: labels,
      Scope: "local",
      Options: {},
    };
  }

  #matches(volume: VolumeRecord, filters: Filters): boolean {
    const names = filters.get("name");
    if (names?.length && !names.some((name) => volume.name.includes(name))) return false;
    const drivers = filters.get("driver");
    if (drivers?.length && !drivers.includes("local")) return false;
    const dangling = filters.get("dangling")?.[0];
    if (dangling !== undefined) {
      const wanted = dangling === "true" || dangling === "1";
      if (wanted !== (this.usersOf(volume.name).length === 0)) return false;
    }
    return labelsMatch(volume.labels, filters);
  }
}

function stringMap(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  const entries = Object.entries(objectOf(value, "Labels"));
  if (entries.some(([, v]) => typeof v !== "string")) throw invalid("invalid volume: Labels must be strings");
  return Object.fromEntries(entries) as Record<string, string>;
}
