import type { Database } from "bun:sqlite";
import { durably } from "../../images/records.ts";
import type { NetworkRecord } from "./records.ts";

/** Networks in the engine's database. As the store's, every call is one transaction. */
export class NetworkStore {
  constructor(private readonly db: Database) {
    db.run(
      "CREATE TABLE IF NOT EXISTS networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT",
    );
  }

  /** The boot in which this engine has made the host a router, which it was not before. */
  get routerSince(): string | undefined {
    return this.db.query<{ value: string }, []>("SELECT value FROM engine WHERE key = 'router-since'").get()?.value;
  }

  set routerSince(bootId: string) {
    this.db.query("INSERT OR REPLACE INTO engine (key, value) VALUES ('router-since', ?)").run(bootId);
  }

  all(): NetworkRecord[] {
    const rows = this.db.query<{ record: string }, []>("SELECT record FROM networks ORDER BY rowid").all();
    return rows.map(({ record }) => JSON.parse(record));
  }

  insert(records: readonly NetworkRecord[]): void {
    const insert = this.db.query("INSERT INTO networks (id, name, record) VALUES (?, ?, ?)");
    durably(this.db, () =>
      this.db.transaction(() => {
        for (const record of records) insert.run(record.id, record.name, JSON.stringify(record));
      })(),
    );
  }

  update(record: NetworkRecord): void {
    durably(this.db, () =>
      this.db.query("UPDATE networks SET record = ? WHERE id = ?").run(JSON.stringify(record), record.id),
    );
  }

  delete(id: string): void {
    durably(this.db, () => this.db.query("DELETE FROM networks WHERE id = ?").run(id));
  }
}
