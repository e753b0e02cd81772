import { Database } from "bun:sqlite";
import { randomBytes } from "node:crypto";
import { mkdirSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { conflict, messageOf } from "../../base/errors.ts";
import { ContentStore } from "../../content/store.ts";
import type { CheckedManifest } from "./manifest.ts";

/** A manifest as the records have it. */
export interface StoredManifest {
  digest: string;
  mediaType: string;
  /** Bytes. */
  size: number;
}

export interface Referrer extends StoredManifest {
  artifactType?: string;
  annotations?: Record<string, string>;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS blob (repo TEXT, digest TEXT, used INTEGER NOT NULL, PRIMARY KEY (repo, digest)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS blob_digest ON blob (digest);
  CREATE TABLE IF NOT EXISTS manifest (
    repo TEXT, digest TEXT, mediaType TEXT NOT NULL, size INTEGER NOT NULL, subject TEXT, artifactType TEXT,
    annotations TEXT, used INTEGER NOT NULL, PRIMARY KEY (repo, digest)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS manifest_digest ON manifest (digest);
  CREATE INDEX IF NOT EXISTS manifest_subject ON manifest (repo, subject, digest);
  CREATE TABLE IF NOT EXISTS reference (
    repo TEXT, digest TEXT, manifest TEXT, PRIMARY KEY (repo, digest, manifest)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS reference_manifest ON reference (repo, manifest);
  CREATE TABLE IF NOT EXISTS tag (repo TEXT, name TEXT, digest TEXT NOT NULL, PRIMARY KEY (repo, name)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS tag_digest ON tag (repo, digest);
`;

/**
 * What a registry keeps below one directory: blobs and manifests by digest in files ({@link ContentStore}), and which
 * repository has what, with tags and referrers, in SQLite. One process at a time uses a directory: a second one gets a
 * conflict. Names and digests are checked by who calls. {@link close} ends it.
 */
export class RegistryStore {
  readonly #db: Database;
  readonly content: ContentStore;
  /** Digests whose file is on its way to a record, with how often. */
  readonly #settling = new Map<string, number>();

  constructor(
    readonly dir: string,
    /** Milliseconds since 1970. */
    readonly now: () => number = Date.now,
  ) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#db = new Database(join(dir, "registry.db"), { create: true, strict: true });
    try {
      this.#db.run("PRAGMA busy_timeout = 0; ");
      this.#db.run("PRAGMA locking_mode = EXCLUSIVE");
      this.#db.run("PRAGMA journal_mode = WAL");
      this.#db.run("PRAGMA synchronous = FULL");
      this.#db.run(SCHEMA);
      this.#db.run("BEGIN IMMEDIATE");
      this.#db.run("COMMIT");
    } catch (error) {
      this.#db.close();
      throw conflict(`open registry ${dir}: ${messageOf(error)} (is another registry using this directory?)`, error);
    }
    this.content = new ContentStore(dir);
  }

  close(): void {
    this.#db.close();
  }

  hasRepository(repo: string): boolean {
    return (
      this.#db
        .query("SELECT 1 FROM manifest WHERE repo = $repo UNION ALL SELECT 1 FROM blob WHERE repo = $repo LIMIT 1")
        .get({ repo }) !== null
    );
  }

  /** At most `limit` names after `last`, in order. */
  repositories(limit: number, last: string): string[] {
    return this.#db
      .query<{ repo: string }, { last: string; limit: number }>(
        "SELECT repo FROM (SELECT repo FROM manifest UNION SELECT repo FROM blob) WHERE repo > $last ORDER BY repo LIMIT $limit",
      )
      .all({ last, limit })
      .map(({ repo }) => repo);
  }

  /** True when the repository has the blob; whoever asks may be about to push a manifest of it, so it counts as used. */
  hasBlob(repo: string, digest: string): boolean {
    const row = this.#db
      .query<{ used: number }, { repo: string; digest: string }>(
        "SELECT used FROM blob WHERE repo = $repo AND digest = $digest",
      )
      .get({ repo, digest });
    if (row === null || !this.content.has(digest)) return false;
    if (this.now() - row.used > 60_000) this.#link(repo, digest);
    return true;
  }

  /** Takes over a file below {@link dir} whose digest has been verified, as a blob of the repository. */
  async addBlob(repo: string, digest: string, path: string): Promise<void> {
    await this.#settle(digest, async () => {
      await this.content.adopt(path, digest);
      this.#link(repo, digest);
    });
  }

  /** Gives a blob of `from`, or of any repository, to `repo` too. False when there is none. */
  mountBlob(repo: string, digest: string, from: string | undefined): boolean {
    const has =
      from === undefined
        ? this.#db.query("SELECT 1 FROM blob WHERE digest = $digest").get({ digest }) !== null
        : this.hasBlob(from, digest);
    if (!has || !this.content.has(digest)) return false;
    this.#link(repo, digest);
    return true;
  }

  /** The digest of a manifest in the repository that refers to this one or to this blob. */
  referenceTo(repo: string, digest: string): string | undefined {
    return this.#db
      .query<{ manifest: string }, { repo: string; digest: string }>(
        "SELECT manifest FROM reference WHERE repo = $repo AND digest = $digest LIMIT 1",
      )
      .get({ repo, digest })?.manifest;
  }

  /** False when the repository does not have it. The file goes with its last repository. */
  deleteBlob(repo: string, digest: string): boolean {
    const gone = this.#db.query("DELETE FROM blob WHERE repo = $repo AND digest = $digest").run({ repo, digest });
    if (gone.changes === 0) return false;
    this.#drop(digest);
    return true;
  }

  hasManifest(repo: string, digest: string): boolean {
    return this.#row(repo, digest) !== null;
  }

  /** By tag or digest. */
  manifest(repo: string, reference: { tag: string } | { digest: string }): StoredManifest | undefined {
    const digest = "digest" in reference ? reference.digest : this.tagged(repo, reference.tag);
    return digest === undefined ? undefined : (this.#row(repo, digest) ?? undefined);
  }

  tagged(repo: string, name: string): string | undefined {
    return this.#db
      .query<{ digest: string }, { repo: string; name: string }>(
        "SELECT digest FROM tag WHERE repo = $repo AND name = $name",
      )
      .get({ repo, name })?.digest;
  }

  /** Stores a checked manifest with all its tags at once. */
  async putManifest(
    repo: string,
    digest: string,
    bytes: Uint8Array,
    checked: CheckedManifest,
    tags: readonly string[],
  ): Promise<void> {
    await this.#settle(digest, async () => {
      if (!this.content.has(digest)) await this.#write(bytes, digest);
      const { mediaType, subject = null, artifactType = null, annotations } = checked;
      const row = { repo, digest, mediaType, size: bytes.length, subject, artifactType, used: this.now() };
      this.#db.transaction(() => {
        this.#db
          .query(
            `INSERT OR REPLACE INTO manifest (repo, digest, mediaType, size, subject, artifactType, annotations, used)
             VALUES ($repo, $digest, $mediaType, $size, $subject, $artifactType, $annotations, $used)`,
          )
          .run({ ...row, annotations: annotations ? JSON.stringify(annotations) : null });
        const refer = this.#db.query(
          "INSERT OR IGNORE INTO reference (repo, digest, manifest) VALUES ($repo, $to, $digest)",
        );
        for (const to of [...checked.blobs, ...checked.manifests]) refer.run({ repo, to, digest });
        const tag = this.#db.query("INSERT OR REPLACE INTO tag (repo, name, digest) VALUES ($repo, $name, $digest)");
        for (const name of tags) tag.run({ repo, name, digest });
      })();
    });
  }

  /** Removes a manifest and its tags. False when the repository does not have it. */
  deleteManifest(repo: string, digest: string): boolean {
    const gone = this.#db.transaction(() => {
      const key = { repo, digest };
      this.#db.query("DELETE FROM tag WHERE repo = $repo AND digest = $digest").run(key);
      this.#db.query("DELETE FROM reference WHERE repo = $repo AND manifest = $digest").run(key);
      return this.#db.query("DELETE FROM manifest WHERE repo = $repo AND digest = $digest").run(key).changes > 0;
    })();
    if (gone) this.#drop(digest);
    return gone;
  }

  deleteTag(repo: string, name: string): boolean {
    return this.#db.query("DELETE FROM tag WHERE repo = $repo AND name = $name").run({ repo, name }).changes > 0;
  }

  /** At most `limit` tags after `last`, in order. */
  tags(repo: string, limit: number, last: string): string[] {
    return this.#db
      .query<{ name: string }, { repo: string; last: string; limit: number }>(
        "SELECT name FROM tag WHERE repo = $repo AND name > $last ORDER BY name LIMIT $limit",
      )
      .all({ repo, last, limit })
      .map(({ name }) => name);
  }

  /** Manifests whose subject this is, after the digest `last`, in order. */
  *referrers(repo: string, subject: string, artifactType: string | undefined, last: string): Generator<Referrer> {
    const rows = this.#db
      .query<
        StoredManifest & { artifactType: string | null; annotations: string | null },
        { repo: string; subject: string; last: string; type: string | null }
      >(
        `SELECT digest, mediaType, size, artifactType, annotations FROM manifest
         WHERE repo = $repo AND subject = $subject AND digest > $last AND ($type IS NULL OR artifactType = $type) ORDER BY digest`,
      )
      .iterate({ repo, subject, last, type: artifactType ?? null });
    for (const { artifactType: type, annotations, ...rest } of rows) {
      yield {
        ...rest,
        ...(type === null ? {} : { artifactType: type }),
        ...(annotations === null ? {} : { annotations: JSON.parse(annotations) }),
      };
    }
  }

  /**
   * Removes what nobody can reach: blobs that no manifest of their repository refers to, with `untagged` also manifests
   * without a tag that neither an index nor a subject holds, and files without a record. What was pushed or asked for in
   * the last `grace` milliseconds stays, since its manifest may be on the way.
   */
  async collect(options: {
    grace: number;
    untagged?: boolean;
    dryRun?: boolean;
  }): Promise<{ blobs: number; manifests: number; bytes: number }> {
    const before = this.now() - options.grace;
    const result = { blobs: 0, manifests: 0, bytes: 0 };
    const manifests = options.untagged ? this.#untagged(before) : [];
    const gone = new Set(manifests.map(({ repo, digest }) => `${repo} ${digest}`));
    const unlinked = new Set(manifests.map(({ digest }) => digest));
    result.manifests = manifests.length;
    if (!options.dryRun) for (const { repo, digest } of manifests) this.deleteManifest(repo, digest);
    const blobs = this.#db
      .query<{ repo: string; digest: string }, { before: number }>(
        "SELECT repo, digest FROM blob WHERE used <= $before",
      )
      .all({ before });
    const holders = this.#db.query<{ manifest: string }, { repo: string; digest: string }>(
      "SELECT manifest FROM reference WHERE repo = $repo AND digest = $digest",
    );
    for (const { repo, digest } of blobs) {
      if (holders.all({ repo, digest }).some(({ manifest }) => !gone.has(`${repo} ${manifest}`))) continue;
      result.blobs++;
      gone.add(`${repo} ${digest}`);
      unlinked.add(digest);
      if (!options.dryRun)
        this.#db.query("DELETE FROM blob WHERE repo = $repo AND digest = $digest").run({ repo, digest });
    }
    for (const { digest, size } of this.content.list()) {
      if (this.#settling.has(digest) || this.#recorded(digest, gone)) continue;
      if (!unlinked.has(digest) && statSync(this.content.path(digest)).mtimeMs > before) continue;
      result.bytes += size;
      if (!options.dryRun) this.content.delete(digest);
    }
    return result;
  }

  /** Untagged manifests that nothing holds; removing them may leave others, which go too. */
  #untagged(before: number): { repo: string; digest: string }[] {
    const candidates = this.#db
      .query<{ repo: string; digest: string; subject: string | null }, { before: number }>(
        `SELECT repo, digest, subject FROM manifest AS m WHERE used <= $before
         AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.repo = m.repo AND tag.digest = m.digest)`,
      )
      .all({ before });
    const key = (repo: string, digest: string) => `${repo} ${digest}`;
    const gone = new Map(candidates.map((one) => [key(one.repo, one.digest), one]));
    for (let changed = true; changed; ) {
      changed = false;
      for (const [name, { repo, digest, subject }] of gone) {
        const held = this.#db
          .query<{ manifest: string }, { repo: string; digest: string }>(
            "SELECT manifest FROM reference WHERE repo = $repo AND digest = $digest",
          )
          .all({ repo, digest })
          .some(({ manifest }) => !gone.has(key(repo, manifest)));
        const subjectStays = subject !== null && this.hasManifest(repo, subject) && !gone.has(key(repo, subject));
        if (held || subjectStays) {
          gone.delete(name);
          changed = true;
        }
      }
    }
    return [...gone.values()];
  }

  #recorded(digest: string, gone: ReadonlySet<string>): boolean {
    return this.#db
      .query<{ repo: string }, { digest: string }>(
        "SELECT repo FROM blob WHERE digest = $digest UNION SELECT repo FROM manifest WHERE digest = $digest",
      )
      .all({ digest })
      .some(({ repo }) => !gone.has(`${repo} ${digest}`));
  }

  #row(repo: string, digest: string): StoredManifest | null {
    return this.#db
      .query<StoredManifest, { repo: string; digest: string }>(
        "SELECT digest, mediaType, size FROM manifest WHERE repo = $repo AND digest = $digest",
      )
      .get({ repo, digest });
  }

  #link(repo: string, digest: string): void {
    this.#db
      .query("INSERT OR REPLACE INTO blob (repo, digest, used) VALUES ($repo, $digest, $used)")
      .run({ repo, digest, used: this.now() });
  }

  #drop(digest: string): void {
    if (!this.#settling.has(digest) && !this.#recorded(digest, new Set())) this.content.delete(digest);
  }

  /** While `work` runs, nobody takes the digest's file away for want of a record. */
  async #settle(digest: string, work: () => Promise<void>): Promise<void> {
    this.#settling.set(digest, (this.#settling.get(digest) ?? 0) + 1);
    try {
      await work();
    } finally {
      const left = this.#settling.get(digest)! - 1;
      if (left === 0) this.#settling.delete(digest);
      else this.#settling.set(digest, left);
    }
  }

  async #write(bytes: Uint8Array, digest: string): Promise<void> {
    const path = join(this.dir, "ingest", `put-${randomBytes(8).toString("hex")}`);
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    await this.content.adopt(path, digest);
  }
}
