import type { Database } from "bun:sqlite";
import type { Hold } from "../images/holds.ts";
import type { StoredLayer } from "../images/store.ts";

/** What one step of a build came to. */
export interface CacheRecord {
  readonly key: string;
  /** Undefined: the step changed nothing. */
  readonly layer: StoredLayer | undefined;
  /** Of the root file system with the layer. */
  readonly chain: string;
  /** Chain of what the step stood on; empty for scratch. */
  readonly parent: string;
  readonly description: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly used: number;
  readonly uses: number;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS build_step (
  key TEXT PRIMARY KEY, diff_id TEXT, blob TEXT, blob_type TEXT, blob_size INTEGER, chain TEXT NOT NULL, parent TEXT NOT NULL,
  description TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL, uses INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS build_selection (
  source TEXT NOT NULL, selection TEXT NOT NULL, digest TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (source, selection)
) STRICT, WITHOUT ROWID;
`;

/** Digests of selections are small, but each version of a context has some. */
const MAX_SELECTIONS = 20_000;
const SELECTION_DAYS = 30;
const DAY = 86_400_000;

type Row = Record<string, string & number>;

/**
 * Results of steps by key, on disk. A record keeps its blob and its layer alive by a hold; one whose data is gone (a
 * power cut took it) is no hit. Written after the data, so a killed engine has at worst data without a record, which the
 * next start sweeps.
 */
export class BuildCache {
  readonly #holds = new Map<string, Hold>();
  /** Records that builds stand on. */
  readonly #users = new Map<string, number>();

  constructor(
    private readonly db: Database,
    private readonly hold: () => Hold,
    private readonly now: () => number = Date.now,
  ) {
    db.run(SCHEMA);
    for (const record of this.list()) this.#keep(record);
  }

  get(key: string): CacheRecord | undefined {
    const row = this.db.query<Row, [string]>("SELECT * FROM build_step WHERE key = ?").get(key);
    return row ? toRecord(row) : undefined;
  }

  /** Notes that the record was of use. */
  touch(key: string): void {
    this.db.query("UPDATE build_step SET used = ?, uses = uses + 1 WHERE key = ?").run(this.now(), key);
  }

  /** Whether a build that is not over has used it. */
  inUse(key: string): boolean {
    return this.#users.has(key);
  }

  use(key: string): void {
    this.#users.set(key, (this.#users.get(key) ?? 0) + 1);
  }

  unuse(key: string): void {
    const count = (this.#users.get(key) ?? 0) - 1;
    if (count > 0) this.#users.set(key, count);
    else this.#users.delete(key);
  }

  put(record: Omit<CacheRecord, "created" | "used" | "uses">): void {
    const { key, layer, chain, parent, description, size } = record;
    const time = this.now();
    this.db
      .query("INSERT OR REPLACE INTO build_step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)")
      .run(
        key,
        layer?.diffId ?? null,
        layer?.blob.digest ?? null,
        layer?.blob.mediaType ?? null,
        layer?.blob.size ?? null,
        chain,
        parent,
        description.slice(0, 1000),
        size,
        time,
        time,
      );
    const before = this.#holds.get(key);
    this.#keep(record);
    before?.release();
  }

  /** Forgets a record; its data goes unless something else needs it. */
  delete(key: string): void {
    this.db.query("DELETE FROM build_step WHERE key = ?").run(key);
    this.#holds.get(key)?.release();
    this.#holds.delete(key);
  }

  /** Least recently used first. */
  list(): CacheRecord[] {
    return this.db.query<Row, []>("SELECT * FROM build_step ORDER BY used, created, key").all().map(toRecord);
  }

  /** The digest that a selection of files of an immutable source has, if it is known. */
  selection(source: string, selection: string): string | undefined {
    return this.db
      .query<Row, [string, string]>("SELECT digest FROM build_selection WHERE source = ? AND selection = ?")
      .get(source, selection)?.digest;
  }

  putSelection(source: string, selection: string, digest: string): void {
    const time = this.now();
    this.db.query("INSERT OR REPLACE INTO build_selection VALUES (?, ?, ?, ?)").run(source, selection, digest, time);
    const { count } = this.db.query<{ count: number }, []>("SELECT count(*) AS count FROM build_selection").get()!;
    if (count <= MAX_SELECTIONS) return;
    this.db.query("DELETE FROM build_selection WHERE used < ?").run(time - SELECTION_DAYS * DAY);
    this.db
      .query(
        "DELETE FROM build_selection WHERE (source, selection) IN (SELECT source, selection FROM build_selection ORDER BY used LIMIT ?)",
      )
      .run(MAX_SELECTIONS / 4);
  }

  #keep({ key, layer, chain }: Pick<CacheRecord, "key" | "layer" | "chain">): void {
    if (!layer) return;
    const hold = this.hold();
    hold.blob(layer.blob.digest);
    hold.chain(chain);
    this.#holds.set(key, hold);
  }
}

function toRecord(row: Row): CacheRecord {
  const { key, chain, parent, description, size, created, used, uses } = row as unknown as CacheRecord;
  const layer = row.diff_id
    ? { diffId: row.diff_id, blob: { mediaType: row.blob_type!, digest: row.blob!, size: row.blob_size! } }
    : undefined;
  return { key, layer, chain, parent, description, size, created, used, uses };
}
