import { RCODE, rcodeOf, ttlOffsets } from "./message.ts";

interface Entry {
  answer: Buffer;
  /** Milliseconds of performance.now(). */
  stored: number;
  expires: number;
  ttls: number[];
}

const MOST_ENTRIES = 2000;
const LONGEST_S = 3600;
/** That a name is not there holds for as long as its zone says (RFC 2308), but here no longer than this. */
const LONGEST_NEGATIVE_S = 30;

/** Answers of the world, for as long as they hold. */
export class AnswerCache {
  readonly #entries = new Map<string, Entry>();

  /** A copy, its TTLs lowered by the time that has passed. */
  get(key: string, now = performance.now()): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (entry.expires <= now) {
      this.#entries.delete(key);
      return undefined;
    }
    const copy = Buffer.from(entry.answer);
    const age = Math.floor((now - entry.stored) / 1000);
    for (const at of entry.ttls) copy.writeUInt32BE(Math.max(copy.readUInt32BE(at) - age, 0), at);
    return copy;
  }

  /** Keeps what may be kept. */
  put(key: string, answer: Buffer, now = performance.now()): void {
    const rcode = rcodeOf(answer);
    if (rcode !== RCODE.noError && rcode !== RCODE.nameError) return;
    let ttls: number[];
    try {
      ttls = ttlOffsets(answer);
    } catch {
      return;
    }
    const negative = rcode === RCODE.nameError || answer.readUInt16BE(6) === 0;
    const least = Math.min(...ttls.map((at) => answer.readUInt32BE(at)), negative ? LONGEST_NEGATIVE_S : LONGEST_S);
    if (least <= 0 || (negative && ttls.length === 0)) return;
    if (this.#entries.size >= MOST_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, { answer, stored: now, expires: now + least * 1000, ttls });
  }
}
