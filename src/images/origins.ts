import type { Database } from "bun:sqlite";
import type { CompressedForm } from "../layers/compress.ts";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS image_blob_origin (
  blob TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (blob, repository)
) STRICT;
CREATE TABLE IF NOT EXISTS image_compressed (
  diff_id TEXT NOT NULL, form TEXT NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (diff_id, form)
) STRICT;
`;

/** Older ones are forgotten: a mount, or a compression, is asked for anew. */
const KEPT = 10_000;

/**
 * What is known of blobs at registries: which repositories had them, and what the plain layers of this machine are when
 * they are compressed. All of it may be forgotten, or wrong by now.
 */
export class Origins {
  constructor(private readonly db: Database) {
    db.run(SCHEMA);
  }

  /** `repository` (`docker.io/library/busybox`) has these blobs. */
  record(blobs: Iterable<string>, repository: string): void {
    this.db.transaction(() => {
      const insert = this.db.query("INSERT OR REPLACE INTO image_blob_origin VALUES (?, ?)");
      for (const blob of blobs) insert.run(blob, repository);
      this.db
        .query("DELETE FROM image_blob_origin WHERE rowid <= (SELECT max(rowid) FROM image_blob_origin) - ?")
        .run(KEPT);
    })();
  }

  /** Paths of repositories at `domain` that had the blob, the latest first. */
  paths(blob: string, domain: string): string[] {
    const from = `${domain}/`;
    return this.db
      .query<{ repository: string }, [string]>(
        "SELECT repository FROM image_blob_origin WHERE blob = ? ORDER BY rowid DESC",
      )
      .all(blob)
      .flatMap(({ repository }) => (repository.startsWith(from) ? [repository.slice(from.length)] : []));
  }

  /** Whether some registry had the blob as it is. */
  isForeign(blob: string): boolean {
    return this.db.query("SELECT 1 FROM image_blob_origin WHERE blob = ?").get(blob) !== null;
  }

  compressed(diffId: string, form: CompressedForm): { digest: string; size: number } | undefined {
    const row = this.db
      .query<{ blob: string; size: number }, [string, string]>(
        "SELECT blob, size FROM image_compressed WHERE diff_id = ? AND form = ?",
      )
      .get(diffId, form);
    return row ? { digest: row.blob, size: row.size } : undefined;
  }

  recordCompressed(diffId: string, form: CompressedForm, { digest, size }: { digest: string; size: number }): void {
    this.db.query("INSERT OR REPLACE INTO image_compressed VALUES (?, ?, ?, ?)").run(diffId, form, digest, size);
    this.db
      .query("DELETE FROM image_compressed WHERE rowid <= (SELECT max(rowid) FROM image_compressed) - ?")
      .run(KEPT);
  }
}
