import { Database } from "bun:sqlite";
import { inflateSync } from "node:zlib";
import { type Package, short } from "./package.ts";

/** Packages of the files that are binary: executables of Go and Rust, the database of rpm. Hostile bytes give nothing. */

const MAX_PACKAGES = 100_000;
const MAX_AUDIT = 16 * 1024 * 1024;
const GO_MAGIC = Buffer.from("\xff Go buildinf:", "latin1");
const GO_ALIGNMENT = 16;
const GO_INLINE = 2;
const GO_HEADER = 32;
const SENTINEL = 16;

/** Modules that Go's linker wrote into an executable (debug/buildinfo; the form since Go 1.18). */
export function goModules(elf: Buffer, source: string): Package[] {
  let at = elf.indexOf(GO_MAGIC);
  while (at >= 0 && at % GO_ALIGNMENT !== 0) at = elf.indexOf(GO_MAGIC, at + 1);
  if (at < 0 || ((elf[at + 15] ?? 0) & GO_INLINE) === 0) return [];
  const version = lengthPrefixed(elf, at + GO_HEADER);
  const info = version && lengthPrefixed(elf, version.end);
  if (!version || !info) return [];
  const result: Package[] = [];
  const toolchain = short(version.text.split(" ")[0]?.replace(/^go/, ""));
  if (toolchain) result.push({ type: "golang", name: "stdlib", version: toolchain, source });
  const lines = info.text.length > 2 * SENTINEL ? info.text.slice(SENTINEL, -SENTINEL).split("\n") : [];
  for (const line of lines.slice(0, MAX_PACKAGES)) {
    const [kind, path, number] = line.split("\t");
    if (kind !== "mod" && kind !== "dep" && kind !== "=>") continue;
    // A replacement is what was built.
    if (kind === "=>") result.pop();
    const whole = short(path);
    if (!whole) continue;
    const slash = whole.lastIndexOf("/");
    const one: Package = {
      type: "golang",
      name: whole.slice(slash + 1),
      version: number === "(devel)" ? "" : (short(number) ?? ""),
      source,
    };
    if (slash > 0) one.namespace = whole.slice(0, slash);
    result.push(one);
  }
  return result;
}

function lengthPrefixed(data: Buffer, from: number): { text: string; end: number } | undefined {
  let length = 0;
  let at = from;
  for (let shift = 0; ; shift += 7) {
    const byte = data[at++];
    if (byte === undefined || shift > 28) return undefined;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (at + length > data.length) return undefined;
  // The sentinels are bytes, so that a character must be one.
  return { text: data.toString("latin1", at, at + length), end: at + length };
}

/** Crates that cargo-auditable wrote into an executable (its PARSING.md: zlib-packed JSON in the section .dep-v0). */
export function auditedCrates(elf: Buffer, source: string): Package[] {
  const packed = elfSection(elf, ".dep-v0");
  if (!packed) return [];
  try {
    const root = JSON.parse(inflateSync(packed, { maxOutputLength: MAX_AUDIT }).toString());
    if (!Array.isArray(root?.packages)) return [];
    return root.packages.slice(0, MAX_PACKAGES).flatMap((entry: unknown): Package[] => {
      const { name, version, kind } = Object(entry);
      const [crate, number] = [short(name), short(version)];
      return crate && number && kind !== "build" ? [{ type: "cargo", name: crate, version: number, source }] : [];
    });
  } catch {
    return [];
  }
}

/** A section of a 64-bit little-endian ELF file (elf(5)). */
function elfSection(elf: Buffer, wanted: string): Buffer | undefined {
  const little64 = elf.length > 64 && elf[4] === 2 && elf[5] === 1;
  if (!little64) return undefined;
  try {
    const table = Number(elf.readBigUInt64LE(0x28));
    const [size, count, names] = [elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c), elf.readUInt16LE(0x3e)];
    const place = (index: number) => {
      const header = table + index * size;
      return { offset: Number(elf.readBigUInt64LE(header + 0x18)), size: Number(elf.readBigUInt64LE(header + 0x20)) };
    };
    const strings = place(names);
    for (let i = 0; i < count; i++) {
      const name = strings.offset + elf.readUInt32LE(table + i * size);
      if (elf.toString("latin1", name, name + wanted.length + 1) !== `${wanted}\0`) continue;
      const { offset, size: length } = place(i);
      return offset + length <= elf.length ? elf.subarray(offset, offset + length) : undefined;
    }
  } catch {
    // Offsets that lead out of the file.
  }
  return undefined;
}

const TAG = { name: 1000, version: 1001, release: 1002, epoch: 1003, license: 1014, architecture: 1022 } as const;
const INT32 = 4;
const STRINGS = [6, 8, 9];
const MAX_ENTRIES = 100_000;
/** Read and write version in the file's header (sqlite.org/fileformat2.html). */
const WAL_BYTES = [18, 19] as const;

/** The database of rpm since 4.16: SQLite, a header of rpm's in each row. */
export function rpmPackages(file: Buffer, source: string): Package[] {
  const copy = Buffer.from(file);
  // A database in memory has no write-ahead log.
  for (const at of WAL_BYTES) if (copy[at] === 2) copy[at] = 1;
  let db: Database | undefined;
  try {
    db = Database.deserialize(copy, true);
    const rows = db.query<{ blob: Uint8Array }, []>(`SELECT blob FROM Packages ORDER BY hnum LIMIT ${MAX_PACKAGES}`);
    return rows.all().flatMap(({ blob }) => rpmHeader(Buffer.from(blob), source));
  } catch {
    return [];
  } finally {
    db?.close();
  }
}

/** One header (rpm's "hdrblob": counts, an index of 16 bytes an entry, the data), big-endian. */
function rpmHeader(blob: Buffer, source: string): Package[] {
  if (blob.length < 8) return [];
  const count = blob.readUInt32BE(0);
  if (count > MAX_ENTRIES || 8 + count * 16 > blob.length) return [];
  const data = blob.subarray(8 + count * 16);
  const found = new Map<number, string>();
  for (let i = 0; i < count; i++) {
    const at = 8 + i * 16;
    const [tag, type, offset] = [blob.readUInt32BE(at), blob.readUInt32BE(at + 4), blob.readUInt32BE(at + 8)];
    if (offset >= data.length) continue;
    if (STRINGS.includes(type)) {
      const end = data.indexOf(0, offset);
      if (end >= 0) found.set(tag, data.toString("utf8", offset, end));
    } else if (type === INT32 && offset + 4 <= data.length) found.set(tag, String(data.readUInt32BE(offset)));
  }
  const field = (tag: number) => short(found.get(tag));
  const [name, version, release] = [field(TAG.name), field(TAG.version), field(TAG.release)];
  // Keys that rpm keeps as packages of no kind.
  if (!name || !version || name === "gpg-pubkey") return [];
  const one: Package = { type: "rpm", name, version: release ? `${version}-${release}` : version, source };
  const [epoch, license, architecture] = [field(TAG.epoch), field(TAG.license), field(TAG.architecture)];
  if (epoch && epoch !== "0") one.epoch = epoch;
  if (license) one.license = license;
  if (architecture) one.architecture = architecture;
  return [one];
}
