import { InroError, messageOf } from "../base/errors.ts";
import { parsePax, parsePaxTime } from "./pax.ts";
import { BLOCK, checksum, FIELD, padding, type TarHeader, TYPE_OF_FLAG } from "./tar-header.ts";

/** One member as read. Everything in it is hostile; sizes and ids are in range, names are not empty and hold no NUL. */
export interface TarEntry extends TarHeader {
  /** As UTF-8 text; other bytes show as U+FFFD, see `nameBytes`. A directory's trailing slash is kept. */
  name: string;
  nameBytes: Buffer;
  linkname: string;
  linknameBytes: Buffer;
  devMajor: number;
  devMinor: number;
  xattrs: ReadonlyMap<string, Buffer>;
  /** Where its header block is in the archive, for messages. */
  offset: number;
}

/** What {@link TarParser} finds, in order: an entry, its body in pieces (subarrays of what was pushed), its end. */
export type TarEvent = { entry: TarEntry } | { data: Uint8Array } | { end: true };

/** Most that is kept in memory for one member: xattrs make pax headers long, nothing makes a path longer than this. */
export const MAX_PAX_HEADER = 1024 * 1024;
export const MAX_LONG_NAME = 64 * 1024;

const MAX_ID = 0xffff_fffe;
const END = { end: true } as const;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

/**
 * Streaming tar parser; chunks may be of any size. Takes ustar, pax, GNU long names and base-256 numbers. Refuses what
 * an unpacker could only get wrong: sparse files, volumes, unknown types. An error is `invalid` and names the entry and
 * its offset. As in other tools, an archive may end without its two zero blocks where a member would begin, and what
 * follows them is skipped.
 */
export class TarParser {
  #state: "header" | "meta" | "body" | "padding" | "zero" | "done" = "header";
  #offset = 0;
  #headerAt = 0;
  /** Bytes of the current header block or extended header so far. */
  #held: Buffer = Buffer.alloc(BLOCK);
  #heldLength = 0;
  #metaFlag = "";
  /** Bytes left of the current body or padding. */
  #left = 0;
  #padding = 0;
  /** The entry whose header has been read, and the one before: for messages. */
  #current = "";
  #last = "";
  #pax: Map<string, Buffer> | undefined;
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;

  /** The events in `chunk`; iterate to the end before the next push. */
  *push(chunk: Uint8Array): Generator<TarEvent, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      const rest = chunk.length - at;
      switch (this.#state) {
        case "done":
          this.#offset += rest;
          return;
        case "header":
        case "zero":
        case "meta": {
          const wanted = this.#state === "meta" ? this.#left : BLOCK;
          if (this.#heldLength === 0 && this.#state !== "meta") this.#nextHeader();
          const taken = Math.min(rest, wanted - this.#heldLength);
          this.#hold(chunk.subarray(at, at + taken));
          at += taken;
          if (this.#heldLength < wanted) break;
          const held = this.#held.subarray(0, wanted);
          this.#heldLength = 0;
          if (this.#state === "meta") {
            this.#meta(held);
          } else {
            const entry = this.#header(held);
            if (entry) {
              yield { entry };
              if (entry.size === 0) yield END;
            }
          }
          break;
        }
        case "body": {
          const taken = Math.min(rest, this.#left);
          const data = chunk.subarray(at, at + taken);
          at += taken;
          this.#offset += taken;
          this.#left -= taken;
          yield { data };
          if (this.#left === 0) {
            yield END;
            this.#skipPadding();
          }
          break;
        }
        case "padding": {
          const taken = Math.min(rest, this.#left);
          at += taken;
          this.#offset += taken;
          this.#left -= taken;
          if (this.#left === 0) this.#state = "header";
          break;
        }
      }
    }
  }

  /** The archive has ended: an error unless a member could begin here. */
  end(): void {
    const between = this.#state === "done" || this.#state === "zero" || this.#state === "header";
    const extended = this.#pax || this.#longName || this.#longLink;
    if (!between || this.#heldLength > 0 || (extended && this.#state === "header")) {
      throw this.#error(`unexpected end of the archive after ${this.#offset} bytes`);
    }
  }

  #hold(piece: Uint8Array): void {
    if (this.#heldLength + piece.length > this.#held.length) {
      // Grows with what has really arrived: a forged length costs no memory.
      const grown = Buffer.allocUnsafe(Math.max(this.#held.length * 2, this.#heldLength + piece.length));
      this.#held.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    this.#held.set(piece, this.#heldLength);
    this.#heldLength += piece.length;
    this.#offset += piece.length;
  }

  #nextHeader(): void {
    this.#headerAt = this.#offset;
    this.#last = this.#current || this.#last;
    this.#current = "";
  }

  #skipPadding(): void {
    this.#left = this.#padding;
    this.#padding = 0;
    this.#state = this.#left > 0 ? "padding" : "header";
  }

  #meta(data: Buffer): void {
    if (this.#metaFlag === "x") {
      try {
        this.#pax = parsePax(Buffer.from(data));
      } catch (error) {
        throw this.#error(messageOf(error));
      }
    } else if (this.#metaFlag === "L") {
      this.#longName = untilNul(data);
    } else if (this.#metaFlag === "K") {
      this.#longLink = untilNul(data);
    }
    this.#skipPadding();
  }

  #header(block: Buffer): TarEntry | undefined {
    if (block.every((byte) => byte === 0)) {
      if (this.#state === "header" && (this.#pax || this.#longName || this.#longLink)) {
        throw this.#error("an extended header without its entry");
      }
      this.#state = this.#state === "zero" ? "done" : "zero";
      return;
    }
    if (this.#state === "zero") throw this.#error("a single zero block in the middle of the archive");
    const stored = this.#octal(block, "checksum", FIELD.checksum);
    if (stored !== checksum(block) && stored !== signedChecksum(block)) {
      throw this.#error("wrong header checksum: not a tar archive, or a corrupt one");
    }
    const flag = String.fromCharCode(block[FIELD.typeflag[0]]!);
    if ("xgLKV".includes(flag)) {
      this.#extended(block, flag);
      return;
    }
    return this.#entry(block, flag);
  }

  #extended(block: Buffer, flag: string): void {
    const size = this.#number(block, "size", FIELD.size);
    const limit = flag === "L" || flag === "K" ? MAX_LONG_NAME : MAX_PAX_HEADER;
    if (size > limit) throw this.#error(`extended header of ${size} bytes, more than the ${limit} allowed`);
    this.#metaFlag = flag;
    this.#left = size;
    this.#padding = padding(size);
    this.#state = "meta";
    if (size === 0) this.#meta(Buffer.alloc(0));
  }

  #entry(block: Buffer, flag: string): TarEntry {
    const pax = this.#pax;
    const text = (key: string) => {
      const value = pax?.get(key);
      return value && value.length > 0 ? value : undefined;
    };
    const nameBytes = text("path") ?? this.#longName ?? ustarName(block);
    const linknameBytes = text("linkpath") ?? this.#longLink ?? field(block, FIELD.linkname);
    const name = nameBytes.toString();
    this.#pax = this.#longName = this.#longLink = undefined;
    this.#current = name;
    if (nameBytes.length === 0) throw this.#error("no name");
    if (nameBytes.includes(0) || linknameBytes.includes(0)) throw this.#error("a NUL in its name or link target");
    // Names are read before this, so that the message can tell which file it is.
    const sparse = flag === "S" || (pax && [...pax.keys()].some((key) => key.startsWith("GNU.sparse.")));
    if (sparse) throw this.#error("sparse files are not supported");
    let type = TYPE_OF_FLAG[flag];
    if (type === undefined) throw this.#error(`unknown entry type ${JSON.stringify(flag)}`);
    // Before ustar a directory was a file with a slash at the end.
    if (type === "file" && nameBytes.at(-1) === 47) type = "directory";

    const decimal = (key: string, max: number, header: () => number) => {
      const value = text(key)?.toString("latin1");
      if (value === undefined) return header();
      if (!/^\d{1,16}$/.test(value) || Number(value) > max) {
        throw this.#error(`invalid pax ${key} ${JSON.stringify(value.slice(0, 40))}`);
      }
      return Number(value);
    };
    const id = (key: "uid" | "gid") => {
      const value = decimal(key, MAX_ID, () => this.#number(block, key, FIELD[key]));
      if (value > MAX_ID) throw this.#error(`${key} ${value} is out of range`);
      return value;
    };
    const size = decimal("size", Number.MAX_SAFE_INTEGER, () => this.#number(block, "size", FIELD.size));
    const device = type === "char" || type === "block";
    const entry: TarEntry = {
      name,
      nameBytes,
      linkname: linknameBytes.toString(),
      linknameBytes,
      type,
      mode: this.#number(block, "mode", FIELD.mode) & 0o7777,
      uid: id("uid"),
      gid: id("gid"),
      // Other types have no body whatever their header says: so do Go and GNU tar read them.
      size: type === "file" ? size : 0,
      mtime: this.#mtime(block, text("mtime")),
      devMajor: device ? this.#number(block, "device major", FIELD.devMajor) : 0,
      devMinor: device ? this.#number(block, "device minor", FIELD.devMinor) : 0,
      xattrs: pax ? xattrsOf(pax) : NO_XATTRS,
      offset: this.#headerAt,
    };
    this.#left = entry.size;
    this.#padding = padding(entry.size);
    this.#state = entry.size > 0 ? "body" : "header";
    return entry;
  }

  #mtime(block: Buffer, pax: Buffer | undefined): bigint {
    if (!pax) return BigInt(this.#number(block, "mtime", FIELD.mtime, true)) * 1_000_000_000n;
    const time = parsePaxTime(pax.toString("latin1"));
    if (time === undefined) throw this.#error(`invalid pax mtime ${JSON.stringify(pax.toString("latin1", 0, 40))}`);
    return time;
  }

  /** A numeric field: octal, or GNU's base-256 where its top bit is set. */
  #number(block: Buffer, what: string, place: readonly [number, number], negative = false): number {
    const [start, length] = place;
    const first = block[start]!;
    if ((first & 0x80) === 0) return this.#octal(block, what, place);
    // Two's complement over the whole field, but for the marker bit.
    let value = BigInt.asIntN(8, BigInt(first & 0x40 ? first : first & 0x7f));
    for (let i = start + 1; i < start + length; i++) value = (value << 8n) | BigInt(block[i]!);
    if ((value < 0n && !negative) || value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) {
      throw this.#error(`${what} ${value} is out of range`);
    }
    return Number(value);
  }

  #octal(block: Buffer, what: string, [start, length]: readonly [number, number]): number {
    const text = block.toString("latin1", start, start + length).replace(/^[ \0]+|[ \0].*$/gs, "");
    if (!/^[0-7]*$/.test(text)) throw this.#error(`invalid ${what} ${JSON.stringify(text)} in its header`);
    return text === "" ? 0 : Number.parseInt(text, 8);
  }

  #error(what: string): InroError {
    const quoted = (name: string) => JSON.stringify(name.slice(0, 300));
    const where = this.#current
      ? `entry ${quoted(this.#current)}`
      : this.#last
        ? `after entry ${quoted(this.#last)}`
        : "at its start";
    return new InroError("invalid", `read tar: ${where}, offset ${this.#headerAt}: ${what}`);
  }
}

/**
 * The members of a tar stream. Each `body` may be iterated once and only until the next entry is asked for; what is
 * left of it is skipped. Errors are those of {@link TarParser} and of `source`.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<TarEntry & { body: AsyncIterable<Uint8Array> }, void, undefined> {
  const events = tarEvents(source);
  try {
    for (;;) {
      const { value, done } = await events.next();
      if (done) return;
      if (!("entry" in value)) continue;
      yield Object.assign(value.entry, { body: bodyOf(events) });
    }
  } finally {
    await events.return();
  }
}

async function* bodyOf(events: AsyncGenerator<TarEvent, void, undefined>): AsyncGenerator<Uint8Array, void, undefined> {
  // Not for-await: leaving that would end the events of the whole archive.
  for (;;) {
    const { value, done } = await events.next();
    if (done || !("data" in value)) return;
    yield value.data;
  }
}

async function* tarEvents(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<TarEvent, void, undefined> {
  const parser = new TarParser();
  for await (const chunk of source) yield* parser.push(chunk);
  parser.end();
}

function field(block: Buffer, [start, length]: readonly [number, number]): Buffer {
  return untilNul(block.subarray(start, start + length));
}

function untilNul(data: Buffer): Buffer {
  const end = data.indexOf(0);
  return Buffer.from(end < 0 ? data : data.subarray(0, end));
}

function ustarName(block: Buffer): Buffer {
  const name = field(block, FIELD.name);
  // GNU's magic is "ustar  \0" and has times where ustar has the prefix; so has star, at its end.
  if (block.toString("latin1", 257, 263) !== "ustar\0") return name;
  const star = block.toString("latin1", 508, 512) === "tar\0";
  const prefix = field(block, star ? [345, 131] : FIELD.prefix);
  return prefix.length > 0 ? Buffer.concat([prefix, Buffer.from("/"), name]) : name;
}

function signedChecksum(block: Buffer): number {
  let sum = checksum(block);
  for (let i = 0; i < BLOCK; i++) if (block[i]! > 127 && (i < 148 || i >= 156)) sum -= 256;
  return sum;
}

function xattrsOf(pax: Map<string, Buffer>): ReadonlyMap<string, Buffer> {
  const prefix = "SCHILY.xattr.";
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of pax) if (key.startsWith(prefix)) xattrs.set(key.slice(prefix.length), value);
  return xattrs.size > 0 ? xattrs : NO_XATTRS;
}
