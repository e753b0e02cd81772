import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { codeOf, invalid } from "../../base/errors.ts";

/** Milliseconds for which a password that was right is not computed again. */
const REMEMBERED = 60_000;
const MAX_REMEMBERED = 1000;
/** Computations of bcrypt at a time; others wait. */
const AT_ONCE = 2;
const MAX_WAITING = 100;
const MAX_PASSWORD = 1024;
/** Of nobody's password: an unknown user takes as long as a known one. */
const NOBODY = "$2b$10$jOORZc.Ldx5oEwTM8sb1EOdXrEAn129v7byTUot7WHAu9zE6lCyfi";

/**
 * The users of an htpasswd file, with bcrypt hashes (`htpasswd -B`). The file is read anew when it has changed. Throws
 * invalid for a file that cannot be read or has another kind of hash.
 */
export class Users {
  #users = new Map<string, string>();
  #stamp = "";
  readonly #remembered = new Map<string, { until: number; of: string }>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(readonly file: string) {
    this.#load();
  }

  /** True for the header of a user with his password. */
  async allows(authorization: string | undefined): Promise<boolean> {
    const encoded = /^Basic +([A-Za-z0-9+/=_-]{1,4096})$/i.exec(authorization ?? "")?.[1];
    if (encoded === undefined) return false;
    const text = Buffer.from(encoded, "base64").toString();
    const colon = text.indexOf(":");
    if (colon < 0 || text.length > MAX_PASSWORD) return false;
    this.#load();
    const name = text.slice(0, colon);
    const hash = this.#users.get(name);
    const key = createHash("sha256").update(text).digest("hex");
    const known = this.#remembered.get(key);
    if (known && known.until > Date.now() && hash !== undefined && same(known.of, hash)) return true;
    this.#remembered.delete(key);
    if (this.#waiting.length >= MAX_WAITING) return false;
    const right = await this.#alone(() =>
      Bun.password.verify(text.slice(colon + 1), hash ?? NOBODY).catch(() => false),
    );
    if (!right || hash === undefined) return false;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(key, { until: Date.now() + REMEMBERED, of: hash });
    return true;
  }

  #load(): void {
    const first = this.#stamp === "";
    try {
      const stat = statSync(this.file);
      const stamp = `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
      if (stamp === this.#stamp) return;
      this.#users = this.#parse(readFileSync(this.file, "utf8"));
      this.#stamp = stamp;
    } catch (error) {
      // Half written, or gone for a moment: who was known stays known.
      if (!first) return;
      throw codeOf(error) === undefined ? error : invalid(`htpasswd ${this.file}: ${codeOf(error)}`, error);
    }
  }

  #parse(text: string): Map<string, string> {
    const users = new Map<string, string>();
    for (const [at, line] of text.split("\n").entries()) {
      if (line.trim() === "" || line.startsWith("#")) continue;
      const colon = line.indexOf(":");
      const hash = line.slice(colon + 1).trim();
      if (colon < 1 || !/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) {
        throw invalid(`htpasswd ${this.file}: line ${at + 1} is not NAME:BCRYPT-HASH (htpasswd -B makes them)`);
      }
      users.set(line.slice(0, colon), hash.replace(/^\$2y/, "$2b"));
    }
    return users;
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}

function same(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
