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
