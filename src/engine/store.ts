import { Database, SQLiteError } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { chmodSync, closeSync, fdatasync as fdatasyncCallback, openSync } from "node:fs";
import { promisify } from "node:util";
import { durably } from "../images/records.ts";
import type { ContainerConfig, HostConfig } from "../spec/docker-api.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import type { Idleness } from "./expiry/idleness.ts";
import type { HealthRecord } from "./health/record.ts";
import type { EndpointConfig, RunNetwork } from "./networks/records.ts";
import type { Restarts } from "./restart/policy.ts";

const fdatasync = promisify(fdatasyncCallback);

/** What a container is; changed by rename and update only. */
export interface ContainerRecord {
  id: string;
  /** Without the slash. */
  name: string;
  /** RFC 3339, nine digits. */
  created: string;
  /** As the client wrote it. */
  image: string;
  imageId: string;
  config: ContainerConfig;
  host: HostConfig;
  /** Volumes have their names by now, anonymous ones too. */
  mounts: PlannedMount[];
  /** Volumes that were made for this container alone. */
  anonymous: string[];
  userns?: { hostID: number; size: number };
  /** The container whose upper directory lies below this one's. */
  below?: string;
  /** Made for a debugging process: it goes with that, and with the engine. */
  debug?: boolean;
  /** By the id of the network. Absent: it has no networks of its own. */
  endpoints?: Record<string, EndpointConfig>;
}

/**
 * How a container fares. `starting` and `removing` are intents: written before acting, so that a crash shows.
 * `restarting` waits for the time in `restarts`.
 */
export interface StateRecord {
  status: "created" | "starting" | "running" | "paused" | "restarting" | "exited" | "removing";
  pid: number;
  exitCode: number;
  error: string;
  oomKilled: boolean;
  startedAt: string;
  finishedAt: string;
  /** /proc/sys/kernel/random/boot_id of the boot in which it was started. */
  bootId: string;
  /** Paused for as long as its files are read. */
  commit?: boolean;
  /** Of a removal: its anonymous volumes go too. */
  removeVolumes?: boolean;
  /** Somebody asked it to stop: its end is no failure of its own, and no restart follows. */
  stopped?: boolean;
  /** A client asked to restart it: whoever sees its end starts it again. */
  restartAsked?: boolean;
  /** Absent: the engine has not restarted it since it was started. */
  restarts?: Restarts;
  /** Of the present run. */
  network?: RunNetwork;
  /** Of one with a TTL: milliseconds since the epoch of its end; restarts by the engine do not change it. */
  expires?: number;
  /** Of one with an IdleTTL; of the present run. */
  idle?: Idleness;
  /** Of one that has a health check, since its first start. */
  health?: HealthRecord;
}

export interface VolumeRecord {
  name: string;
  created: string;
  labels: Record<string, string>;
  anonymous: boolean;
  /** Of the local driver; none is a directory. */
  options?: Record<string, string>;
  /** It is a snapshot of this volume, and so read-only. */
  snapshotOf?: string;
  /** Directory beside it in which its data still is: an intent, see volumes/place.ts. */
  dataAt?: string;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS engine (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL, state TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
`;
const VERSION = 1;
/** 16 MB. */
const CHECKPOINT_PAGES = 4000;
/** Many a container does not live for longer. */
const SOON_MS = 20;
/** Bytes that the database keeps free in its file, so that a full disk does not keep it from recording what happens. */
const RESERVE = 512 * 1024;
const RESERVE_PAGES = RESERVE / 4096;

/**
 * The engine's records in SQLite. A row is there before anything of the container is, and until nothing is left of it.
 * Every call is one transaction, in the file when it returns, so it survives the end of the process; after {@link sync}
 * that of the machine too (a power failure before it loses the row, but tears none). Only this engine writes.
 */
export class Store {
  /** Its commits are in the file, and wait for no disk (`synchronous = NORMAL`). */
  readonly db: Database;
  readonly engineId: string;
  /** SQLite's write-ahead log: what an fsync of ours is for. */
  readonly #log: number;
  readonly #later = new Map<string, StateRecord>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sync: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;

  constructor(path: string) {
    this.db = new Database(path, { create: true, strict: true });
    chmodSync(path, 0o600);
    this.db.run("PRAGMA journal_mode = WAL");
    this.db.run("PRAGMA synchronous = NORMAL");
    // A checkpoint waits for the disk, with the event loop; the rows are few, so a longer log means fewer of the same size.
    this.db.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    this.db.run(SCHEMA);
    const version = this.#get("version") ?? String(VERSION);
    if (Number(version) > VERSION) throw new Error(`${path} is of a newer inro (schema ${version})`);
    this.#set("version", String(VERSION));
    this.engineId = this.#get("id") ?? randomUUID();
    this.#set("id", this.engineId);
    this.#reserve();
    this.#log = openSync(`${path}-wal`, "r");
  }

  /** Pages of a dropped table stay in the file, free. */
  #reserve(): void {
    const free = this.db.query<{ freelist_count: number }, []>("PRAGMA freelist_count").get()?.freelist_count ?? 0;
    if (free >= RESERVE_PAGES / 2) return;
    try {
      this.db.run("CREATE TABLE reserve (room BLOB)");
      this.db.run(`INSERT INTO reserve VALUES (zeroblob(${RESERVE}))`);
    } catch (error) {
      // Then there is none, and the engine can still be of use: for removing things, say.
      if (!isFull(error)) throw error;
    }
    this.db.run("DROP TABLE IF EXISTS reserve");
    this.#checkpoint();
  }

  #checkpoint(): void {
    this.db.run("PRAGMA wal_checkpoint(RESTART)");
  }

  containers(): { record: ContainerRecord; state: StateRecord }[] {
    return this.db
      .query<{ record: string; state: string }, []>("SELECT record, state FROM containers ORDER BY rowid")
      .all()
      .map(({ record, state }) => ({ record: JSON.parse(record), state: JSON.parse(state) }));
  }

  insertContainer(record: ContainerRecord, state: StateRecord, volumes: VolumeRecord[]): void {
    const insert = () =>
      this.db
        .query("INSERT INTO containers (id, name, record, state) VALUES (?, ?, ?, ?)")
        .run(record.id, record.name, JSON.stringify(record), JSON.stringify(state));
    this.#evenIfFull(() => {
      if (volumes.length === 0) return void insert();
      this.db.transaction(() => {
        for (const volume of volumes) insertVolume(this.db, volume);
        insert();
      })();
    });
  }

  updateContainer(record: ContainerRecord): void {
    durably(this.db, () =>
      this.db
        .query("UPDATE containers SET name = ?, record = ? WHERE id = ?")
        .run(record.name, JSON.stringify(record), record.id),
    );
  }

  updateState(id: string, state: StateRecord): void {
    this.#later.delete(id);
    this.#evenIfFull(() => {
      this.db.query("UPDATE containers SET state = ? WHERE id = ?").run(JSON.stringify(state), id);
    });
  }

  /**
   * As {@link updateState}, a moment later, unless another state has come by then. For what the next engine can see
   * without it.
   */
  updateStateSoon(id: string, state: StateRecord): void {
    this.#later.set(id, state);
    this.#timer ??= setTimeout(() => this.#writeLater(), SOON_MS);
  }

  #writeLater(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = [...this.#later];
    if (due.length === 0) return;
    this.db.transaction(() => {
      for (const [id, state] of due) this.updateState(id, state);
    })();
  }

  deleteContainer(id: string): void {
    this.#later.delete(id);
    this.#evenIfFull(() => {
      this.db.query("DELETE FROM containers WHERE id = ?").run(id);
    });
  }

  volumes(): VolumeRecord[] {
    const rows = this.db.query<{ record: string }, []>("SELECT record FROM volumes ORDER BY name").all();
    return rows.map(({ record }) => JSON.parse(record));
  }

  volume(name: string): VolumeRecord | undefined {
    const row = this.db.query<{ record: string }, [string]>("SELECT record FROM volumes WHERE name = ?").get(name);
    return row ? JSON.parse(row.record) : undefined;
  }

  /** One of that name stays as it is. */
  insertVolume(volume: VolumeRecord): void {
    this.#evenIfFull(() => insertVolume(this.db, volume));
  }

  updateVolume(volume: VolumeRecord): void {
    this.#evenIfFull(() => {
      this.db.query("UPDATE volumes SET record = ? WHERE name = ?").run(JSON.stringify(volume), volume.name);
    });
  }

  /** The volume under its new name, and the containers that mount it, in one step. */
  renameVolume(from: string, volume: VolumeRecord, containers: readonly ContainerRecord[]): void {
    this.#evenIfFull(() => {
      this.db.transaction(() => {
        this.db.query("DELETE FROM volumes WHERE name = ?").run(from);
        insertVolume(this.db, volume);
        for (const record of containers) {
          this.db.query("UPDATE containers SET record = ? WHERE id = ?").run(JSON.stringify(record), record.id);
        }
      })();
    });
  }

  deleteVolume(name: string): void {
    this.#evenIfFull(() => {
      this.db.query("DELETE FROM volumes WHERE name = ?").run(name);
    });
  }

  /** Notes that the engine leaves because there is nothing to do, in this boot. */
  noteIdle(bootId: string): void {
    this.#evenIfFull(() => {
      this.db.query("INSERT OR REPLACE INTO engine (key, value) VALUES ('idle', ?)").run(bootId);
    });
  }

  /** Whether the last engine left so, in this boot; asked once. */
  takeIdle(bootId: string): boolean {
    const left = this.#get("idle") === bootId;
    if (left) this.db.run("DELETE FROM engine WHERE key = 'idle'");
    return left;
  }

  async close(): Promise<void> {
    this.#writeLater();
    await this.sync().catch(() => undefined);
    this.db.close();
    closeSync(this.#log);
  }

  /**
   * Resolves when everything that was written so far is on the disk. Off the event loop, where an fsync would hold up
   * every client, and one for all who ask at the same time.
   */
  sync(): Promise<void> {
    this.#nextSync ??= (this.#sync ?? Promise.resolve()).then(() => {
      this.#sync = this.#nextSync;
      this.#nextSync = undefined;
      return fdatasync(this.#log);
    });
    return this.#nextSync;
  }

  /** On a full disk the log cannot grow: its entries move into the reserve, and it starts anew in the space it has. */
  #evenIfFull(statement: () => void): void {
    try {
      statement();
    } catch (error) {
      if (!isFull(error)) throw error;
      this.#checkpoint();
      statement();
    }
  }

  #get(key: string): string | undefined {
    return this.db.query<{ value: string }, [string]>("SELECT value FROM engine WHERE key = ?").get(key)?.value;
  }

  #set(key: string, value: string): void {
    this.db.query("INSERT OR IGNORE INTO engine (key, value) VALUES (?, ?)").run(key, value);
  }
}

function insertVolume(db: Database, volume: VolumeRecord): void {
  db.query("INSERT OR IGNORE INTO volumes (name, record) VALUES (?, ?)").run(volume.name, JSON.stringify(volume));
}

function isFull(error: unknown): boolean {
  return error instanceof SQLiteError && error.code === "SQLITE_FULL";
}
