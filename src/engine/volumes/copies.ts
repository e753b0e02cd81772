import { existsSync } from "node:fs";
import { join } from "node:path";
import { conflict, invalid } from "../../base/errors.ts";
import { copyInChild } from "../../layers/apply-command.ts";
import type { Volume } from "../../spec/docker-api.ts";
import { map, object, text } from "../config/fields.ts";
import { checkVolumeName } from "../config/volume-spec.ts";
import type { Container } from "../container.ts";
import type { VolumeRecord } from "../store.ts";
import type { Volumes } from "../volumes.ts";
import { ANONYMOUS_LABEL, plainLabels, SNAPSHOT_LABEL } from "./labels.ts";
import { localVolume } from "./local-options.ts";
import { newPlace, place } from "./place.ts";

export interface CopyOptions {
  /** Also while a container may be writing: each file is then as it was at some moment of the copy, not all at the same. */
  live?: boolean;
  /** Ends the copy, of which nothing is left then. */
  signal?: AbortSignal;
}

interface CopyBody {
  Name?: string;
  Labels?: Record<string, string>;
  Snapshot?: string;
}
const copyBody = object<CopyBody>({ Name: text, Labels: map(text), Snapshot: text });

/**
 * Snapshots, clones and new names of volumes that are directories. A copy shares its blocks with the source where the
 * file system can (btrfs, XFS), and is made in another process; it appears whole, or not at all. `body` is untrusted.
 */
export class VolumeCopies {
  constructor(private readonly volumes: Volumes) {}

  /** `{Name, Labels}`: a new volume with what is in `source` now. */
  async clone(source: string, body: unknown, options: CopyOptions = {}): Promise<Volume> {
    const { Name = "", Labels = {} } = copyBody(body ?? {}, "");
    if (Name === "") throw invalid("invalid volume: a clone needs a Name");
    const { labels } = this.volumes.record(source);
    return await this.#copy(
      source,
      this.volumes.draft(Name, { labels: { ...plainLabels(labels), ...Labels } }),
      options,
    );
  }

  /** `{Name?, Labels}`: as {@link clone}, and nobody can write to it. Without a name it gets one with the time in it. */
  async snapshot(source: string, body: unknown, options: CopyOptions = {}): Promise<Volume> {
    const { Name: name = "", Labels = {} } = copyBody(body ?? {}, "");
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
    const labels = { ...plainLabels(this.volumes.record(source).labels), ...Labels, [SNAPSHOT_LABEL]: source };
    const draft = this.volumes.draft(name || `${source}-${time}`, { labels });
    return await this.#copy(source, { ...draft, snapshotOf: source }, options);
  }

  /** `{Snapshot}`: the volume gets back what a snapshot (or any other volume) has. Nobody may run with it. */
  async restore(name: string, body: unknown, { signal }: CopyOptions = {}): Promise<Volume> {
    const { Snapshot: from = "" } = copyBody(body ?? {}, "");
    if (from === name) throw invalid(`restore ${name}: it cannot be restored from itself`);
    const record = this.#directory(this.volumes.record(name));
    this.#directory(this.volumes.record(from));
    if (record.snapshotOf !== undefined) throw conflict(`restore ${name}: a snapshot does not change`);
    const busy = this.volumes.containersOf(name).find(isStarted);
    if (busy) throw conflict(`restore ${name}: volume is in use by running container ${busy.id}: stop it first`);
    await this.#reserved([from, name], async () => {
      const dataAt = await this.#fill(from, { signal });
      await this.#settle({ ...record, dataAt }, () => this.volumes.ctx.store.updateVolume({ ...record, dataAt }));
    });
    this.volumes.ctx.events.emit("volume", "restore", name, { driver: "local", snapshot: from });
    return this.volumes.inspect(name);
  }

  /** `{Name}`: another name, for the containers that mount it too, whether they run or not. */
  async rename(from: string, body: unknown): Promise<Volume> {
    const { Name: to = "" } = copyBody(body ?? {}, "");
    if (to === "") throw invalid("invalid volume: a Name is needed");
    const record = this.volumes.record(from);
    this.#checkNew(to);
    const { ctx } = this.volumes;
    await this.#reserved([from, to], async () => {
      const moved = existsSync(ctx.paths.volume(from)) ? { dataAt: from } : {};
      const { [ANONYMOUS_LABEL]: _, ...labels } = record.labels;
      const renamed = { ...record, name: to, labels, anonymous: false, ...moved };
      const containers = this.volumes.containersOf(from);
      const records = containers.map(({ record }) => renamedIn(record, from, to));
      await this.#settle(renamed, () => {
        ctx.store.renameVolume(from, renamed, records);
        for (const [i, container] of containers.entries()) container.record = records[i]!;
        this.volumes.held.rename(from, to);
      });
    });
    ctx.events.emit("volume", "rename", to, { driver: "local", oldName: from });
    return this.volumes.inspect(to);
  }

  async #copy(source: string, draft: VolumeRecord, { live = false, signal }: CopyOptions): Promise<Volume> {
    this.#directory(this.volumes.record(source));
    this.#checkNew(draft.name);
    const checkWriters = () => {
      const writer = live ? undefined : this.volumes.containersOf(source).find((one) => isWriting(one, source));
      if (!writer) return;
      throw conflict(
        `copy ${source}: running container ${writer.id} may be writing to it: pause or stop it, or copy it live`,
      );
    };
    checkWriters();
    await this.#reserved([source, draft.name], async () => {
      const dataAt = await this.#fill(source, { live, signal });
      const record = { ...draft, dataAt };
      await this.#settle(record, () => {
        // A paused one may have been resumed meanwhile.
        checkWriters();
        this.volumes.ctx.store.insertVolume(record);
      });
    });
    this.volumes.created(draft);
    return this.volumes.inspect(draft.name);
  }

  /** Copies the data of a volume to a new place, and says which. */
  async #fill(source: string, options: { live?: boolean; signal?: AbortSignal | undefined }): Promise<string> {
    const { ctx } = this.volumes;
    const dataAt = newPlace(ctx);
    try {
      await copyInChild(
        {
          from: { layers: [this.volumes.makeDirectory(source)], path: "." },
          to: join(ctx.paths.volume(dataAt), "_data"),
          options: { what: `copy volume ${source}`, reflink: true, live: options.live ?? false },
          durable: true,
        },
        options.signal,
      );
      return dataAt;
    } catch (error) {
      ctx.trash.discard(ctx.paths.volume(dataAt));
      throw error;
    }
  }

  /** Writes the intent, waits for the disk, and does what it says. */
  async #settle(record: VolumeRecord, write: () => void): Promise<void> {
    const { ctx } = this.volumes;
    try {
      write();
    } catch (error) {
      if (record.dataAt?.startsWith(".")) ctx.trash.discard(ctx.paths.volume(record.dataAt));
      throw error;
    }
    await ctx.store.sync();
    await place(ctx, record);
    await ctx.store.sync();
  }

  /** While `body` runs the first of two volumes is only read, and the second is nobody's. */
  async #reserved([read, made]: readonly [string, string], body: () => Promise<void>): Promise<void> {
    const { copying } = this.volumes;
    for (const name of [read, made]) {
      if (copying.has(name)) throw conflict(`volume ${name} is being copied or renamed: try again when that is done`);
    }
    copying.set(read, "read").set(made, "made");
    try {
      await body();
    } finally {
      copying.delete(read);
      copying.delete(made);
    }
  }

  #checkNew(name: string): void {
    checkVolumeName(name);
    if (this.volumes.ctx.store.volume(name)) throw conflict(`a volume named ${name} exists already`);
  }

  #directory(record: VolumeRecord): VolumeRecord {
    const { kind } = localVolume(record.options);
    if (kind === "directory") return record;
    throw invalid(`volume ${record.name} is no directory of the engine's (${kind}): it cannot be copied`);
  }
}

const isStarted = ({ isRunning, state }: Container) => isRunning || state.status === "starting";

function isWriting(container: Container, volume: string): boolean {
  if (!isStarted(container) || container.state.status === "paused") return false;
  return container.record.mounts.some(
    ({ type, source, readOnly }) => type === "volume" && source === volume && !readOnly,
  );
}

function renamedIn(record: Container["record"], from: string, to: string): Container["record"] {
  const name = (one: string) => (one === from ? to : one);
  const { Binds, Mounts } = record.host;
  return {
    ...record,
    mounts: record.mounts.map((mount) => (mount.type === "volume" ? { ...mount, source: name(mount.source) } : mount)),
    // It has a name of its own now, and so outlives the container.
    anonymous: record.anonymous.filter((one) => one !== from),
    host: {
      ...record.host,
      ...(Binds
        ? { Binds: Binds.map((bind) => (bind.startsWith(`${from}:`) ? to + bind.slice(from.length) : bind)) }
        : {}),
      ...(Mounts
        ? {
            Mounts: Mounts.map((mount) =>
              mount.Type === "volume" ? { ...mount, Source: name(mount.Source ?? "") } : mount,
            ),
          }
        : {}),
    },
  };
}
