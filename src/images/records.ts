import type { Database } from "bun:sqlite";
import type { Descriptor, ImageConfig } from "../spec/oci-image.ts";
import { parseImageConfig } from "./config.ts";

/** One layer of a recorded image, base first. */
export interface LayerRow {
  diffId: string;
  chainId: string;
  /** The layer's tar as stored: plain, gzip or zstd. */
  blob: Descriptor;
}

export interface ImageRow {
  id: string;
  /** The configuration exactly as hashed. */
  configText: string;
  config: ImageConfig;
  manifest: Descriptor;
  /** Bytes of the unpacked layers. */
  size: number;
  /** RFC 3339; when it became known here, for images without a date. */
  created: string;
  layers: LayerRow[];
}

export interface TagRow {
  repository: string;
  tag: string;
  image: string;
}

export interface DigestRow {
  repository: string;
  digest: string;
  image: string;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS image (
  id TEXT PRIMARY KEY, config TEXT NOT NULL, manifest TEXT NOT NULL, manifest_type TEXT NOT NULL,
  manifest_size INTEGER NOT NULL, size INTEGER NOT NULL, created TEXT NOT NULL, tagged TEXT, removed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS image_layer (
  image TEXT NOT NULL, position INTEGER NOT NULL, diff_id TEXT NOT NULL, chain_id TEXT NOT NULL,
  blob TEXT NOT NULL, blob_type TEXT NOT NULL, blob_size INTEGER NOT NULL, PRIMARY KEY (image, position)
) STRICT;
CREATE INDEX IF NOT EXISTS image_layer_blob ON image_layer (blob);
CREATE INDEX IF NOT EXISTS image_layer_chain ON image_layer (chain_id);
CREATE TABLE IF NOT EXISTS image_tag (
  repository TEXT NOT NULL, tag TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (repository, tag)
) STRICT;
CREATE INDEX IF NOT EXISTS image_tag_image ON image_tag (image);
CREATE TABLE IF NOT EXISTS image_digest (
  repository TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (repository, digest, image)
) STRICT;
CREATE TABLE IF NOT EXISTS image_use (image TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS image_digest_image ON image_digest (image);
`;

type Row = Record<string, string & number>;

/** Runs `work`, whose commits are on the disk when it returns, on a connection of which that is not so otherwise. */
export function durably<T>(db: Database, work: () => T): T {
  if (db.inTransaction) return work();
  db.run("PRAGMA synchronous = FULL");
  try {
    return work();
  } finally {
    db.run("PRAGMA synchronous = NORMAL");
  }
}

/** The tables of images. Names of repositories are whole (`docker.io/library/busybox`). Every method is one transaction. */
export class Records {
  /** The id is the config's digest, so an image never changes; only whether it is there does. */
  readonly #rows = new Map<string, { image: ImageRow; removed: boolean }>();
  /** As {@link ids} has them; as a rule none, and asked for at the end of every container. */
  #removed: string[] | undefined;

  constructor(private readonly db: Database) {
    db.run(SCHEMA);
  }

  transaction<T>(work: () => T): T {
    return durably(this.db, this.db.transaction(work));
  }

  /** Records an image; one that is there already stays as it is, and is no longer removed. */
  add(image: Omit<ImageRow, "config">): void {
    this.transaction(() => {
      const { id, configText, manifest, size, created } = image;
      const fresh = this.db
        .query("INSERT OR IGNORE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, NULL, 0)")
        .run(id, configText, manifest.digest, manifest.mediaType, manifest.size, size, created);
      this.db.query("UPDATE image SET removed = 0 WHERE id = ?").run(id);
      this.#rows.delete(id);
      this.#removed = undefined;
      if (fresh.changes === 0) return;
      for (const [position, { diffId, chainId, blob }] of image.layers.entries()) {
        this.db
          .query("INSERT INTO image_layer VALUES (?, ?, ?, ?, ?, ?, ?)")
          .run(id, position, diffId, chainId, blob.digest, blob.mediaType, blob.size);
      }
    });
  }

  /** The image, unless unknown. Those that were removed while containers use them are found only with `removed`. */
  get(id: string, removed = false): ImageRow | undefined {
    const known = this.#rows.get(id);
    if (known) return known.removed && !removed ? undefined : known.image;
    const row = this.db.query<Row, [string]>("SELECT * FROM image WHERE id = ?").get(id);
    if (!row) return undefined;
    const layers = this.db.query<Row, [string]>("SELECT * FROM image_layer WHERE image = ? ORDER BY position").all(id);
    const image = {
      id: row.id!,
      configText: row.config!,
      config: parseImageConfig(row.config!),
      manifest: { mediaType: row.manifest_type!, digest: row.manifest!, size: row.manifest_size! },
      size: row.size!,
      created: row.created!,
      layers: layers.map((layer) => ({
        diffId: layer.diff_id!,
        chainId: layer.chain_id!,
        blob: { mediaType: layer.blob_type!, digest: layer.blob!, size: layer.blob_size! },
      })),
    };
    this.#rows.set(id, { image, removed: row.removed !== 0 });
    return row.removed !== 0 && !removed ? undefined : image;
  }

  /** Ids, newest image first. `removed`: those removed while in use, instead. */
  ids(removed = false): readonly string[] {
    const list = () =>
      this.db
        .query<Row, [number]>("SELECT id FROM image WHERE removed = ? ORDER BY created DESC, id")
        .all(removed ? 1 : 0)
        .map((row) => row.id!);
    if (!removed) return list();
    this.#removed ??= list();
    return this.#removed;
  }

  /** Ids that begin with `sha256:` and these hex digits; at most two. */
  idsByPrefix(hex: string): string[] {
    const from = `sha256:${hex}`;
    return this.db
      .query<Row, [string, string]>("SELECT id FROM image WHERE id >= ? AND id < ? AND removed = 0 LIMIT 2")
      .all(from, `${from}g`)
      .map((row) => row.id!);
  }

  tagged(repository: string, tag: string): string | undefined {
    const query = "SELECT image FROM image_tag WHERE repository = ? AND tag = ?";
    return this.db.query<Row, [string, string]>(query).get(repository, tag)?.image;
  }

  digested(repository: string, digest: string): string | undefined {
    const query = "SELECT image FROM image_digest WHERE repository = ? AND digest = ? ORDER BY rowid DESC";
    return this.db.query<Row, [string, string]>(query).get(repository, digest)?.image;
  }

  tags(image: string): TagRow[] {
    return this.db
      .query<TagRow, [string]>("SELECT * FROM image_tag WHERE image = ? ORDER BY repository, tag")
      .all(image);
  }

  tagsOf(repository: string): TagRow[] {
    return this.db.query<TagRow, [string]>("SELECT * FROM image_tag WHERE repository = ? ORDER BY tag").all(repository);
  }

  digests(image: string): DigestRow[] {
    return this.db
      .query<DigestRow, [string]>("SELECT * FROM image_digest WHERE image = ? ORDER BY repository, digest")
      .all(image);
  }

  /** Sets a tag; an image that had it stays, untagged. */
  setTag(repository: string, tag: string, image: string): void {
    this.transaction(() => {
      this.db.query("INSERT OR REPLACE INTO image_tag VALUES (?, ?, ?)").run(repository, tag, image);
      this.db.query("UPDATE image SET tagged = ? WHERE id = ?").run(new Date().toISOString(), image);
    });
  }

  setDigest(repository: string, digest: string, image: string): void {
    this.transaction(() => {
      this.db.query("INSERT OR REPLACE INTO image_digest VALUES (?, ?, ?)").run(repository, digest, image);
    });
  }

  removeTag(repository: string, tag: string): void {
    this.transaction(() => {
      this.db.query("DELETE FROM image_tag WHERE repository = ? AND tag = ?").run(repository, tag);
    });
  }

  removeDigest(repository: string, digest: string, image: string): void {
    this.transaction(() => {
      this.db
        .query("DELETE FROM image_digest WHERE repository = ? AND digest = ? AND image = ?")
        .run(repository, digest, image);
    });
  }

  /** Forgets an image with its names. With `hide` its layers stay referenced, for containers that use them. */
  remove(image: string, hide: boolean): void {
    this.#rows.delete(image);
    this.#removed = undefined;
    this.transaction(() => {
      this.db.query("DELETE FROM image_tag WHERE image = ?").run(image);
      this.db.query("DELETE FROM image_digest WHERE image = ?").run(image);
      if (hide) {
        this.db.query("UPDATE image SET removed = 1 WHERE id = ?").run(image);
        return;
      }
      this.db.query("DELETE FROM image_layer WHERE image = ?").run(image);
      this.db.query("DELETE FROM image WHERE id = ?").run(image);
    });
  }

  /** When the image was last given a tag; RFC 3339. */
  lastTagged(image: string): string | undefined {
    const row = this.db.query<Row, [string]>("SELECT tagged FROM image WHERE id = ?").get(image);
    return row?.tagged ?? undefined;
  }

  /** Records when images were used, milliseconds since the epoch, and answers it of all, those of others forgotten. */
  uses(noted: ReadonlyMap<string, number>): Map<string, number> {
    return this.transaction(() => {
      const set = this.db.query("INSERT INTO image_use VALUES (?1, ?2) ON CONFLICT DO UPDATE SET used = max(used, ?2)");
      for (const [image, used] of noted) set.run(image, used);
      this.db.run("DELETE FROM image_use WHERE image NOT IN (SELECT id FROM image)");
      const rows = this.db.query<{ image: string; used: number }, []>("SELECT image, used FROM image_use").all();
      return new Map(rows.map(({ image, used }) => [image, used]));
    });
  }

  isBlobUsed(digest: string): boolean {
    const query =
      "SELECT 1 FROM image WHERE id = ?1 OR manifest = ?1 UNION ALL SELECT 1 FROM image_layer WHERE blob = ?1";
    return this.db.query<Row, [string]>(query).get(digest) !== null;
  }

  /** Whether some image has this blob as the layer of this diffID: then that was verified. */
  isLayerKnown(diffId: string, blob: string): boolean {
    const query = "SELECT 1 FROM image_layer WHERE blob = ? AND diff_id = ?";
    return this.db.query<Row, [string, string]>(query).get(blob, diffId) !== null;
  }

  isChainUsed(chainId: string): boolean {
    return this.db.query<Row, [string]>("SELECT 1 FROM image_layer WHERE chain_id = ?").get(chainId) !== null;
  }
}
