import { invalid } from "../base/errors.ts";
import { formatPax, formatPaxTime } from "./pax.ts";
import { BLOCK, checksum, FIELD, FLAG_OF_TYPE, padding, type TarHeader } from "./tar-header.ts";

/** A member to write: the body must have as many bytes as `header.size` says. */
export interface TarMember {
  header: TarHeader;
  body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * The members as a tar archive with its end: ustar, with a pax header where ustar cannot say it (long or non-ASCII
 * names, large numbers, fractions of a second, xattrs). Equal members give equal bytes. A body that is too short or
 * too long is an `invalid` error that names the entry.
 */
export async function* writeTar(
  members: AsyncIterable<TarMember> | Iterable<TarMember>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { header, body } of members) {
    yield encodeTarHeader(header);
    if (header.size === 0) continue;
    let left = header.size;
    for await (const chunk of body ?? []) {
      left -= chunk.length;
      if (left < 0) break;
      yield chunk;
    }
    if (left !== 0) {
      const what = left < 0 ? "more bytes" : `${left} bytes fewer`;
      throw invalid(
        `write tar: entry ${JSON.stringify(String(header.name))}: its body has ${what} than its header says`,
      );
    }
    if (padding(header.size) > 0) yield Buffer.alloc(padding(header.size));
  }
  yield Buffer.alloc(2 * BLOCK);
}

/** The header blocks of one member, a pax header with its own included. */
export function encodeTarHeader(header: TarHeader): Buffer {
  const name = Buffer.from(header.name as Uint8Array);
  const linkname = Buffer.from((header.linkname ?? "") as Uint8Array);
  const records: [string, string | Uint8Array][] = [];
  const split = splitName(name);
  if (!split) records.push(["path", name]);
  if (linkname.length > FIELD.linkname[1] || !isAscii(linkname)) records.push(["linkpath", linkname]);
  const seconds = header.mtime / 1_000_000_000n;
  const plainTime = header.mtime >= 0n && header.mtime % 1_000_000_000n === 0n && seconds < 0o77777777777n;
  if (!plainTime) records.push(["mtime", formatPaxTime(header.mtime)]);
  for (const key of ["uid", "gid"] as const) if (header[key] > 0o7777777) records.push([key, String(header[key])]);
  if (header.size > 0o77777777777) records.push(["size", String(header.size)]);
  for (const [key, value] of [...(header.xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    records.push([`SCHILY.xattr.${key}`, value]);
  }

  const block = ustarBlock({
    name: split?.name ?? name.subarray(0, FIELD.name[1]),
    prefix: split?.prefix ?? Buffer.alloc(0),
    linkname: linkname.subarray(0, FIELD.linkname[1]),
    flag: FLAG_OF_TYPE[header.type],
    mode: header.mode & 0o7777,
    uid: header.uid > 0o7777777 ? 0 : header.uid,
    gid: header.gid > 0o7777777 ? 0 : header.gid,
    size: header.size > 0o77777777777 ? 0 : header.size,
    mtime: plainTime ? Number(seconds) : 0,
    devMajor: header.devMajor ?? 0,
    devMinor: header.devMinor ?? 0,
  });
  if (records.length === 0) return block;
  const pax = formatPax(records);
  const base = name.subarray(name.lastIndexOf(47, name.length - 2) + 1);
  const paxBlock = ustarBlock({
    // Seen only by readers that do not know pax.
    name: Buffer.concat([Buffer.from("PaxHeaders/"), base]).subarray(0, FIELD.name[1]),
    prefix: Buffer.alloc(0),
    linkname: Buffer.alloc(0),
    flag: "x",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: pax.length,
    mtime: 0,
    devMajor: 0,
    devMinor: 0,
  });
  return Buffer.concat([paxBlock, pax, Buffer.alloc(padding(pax.length)), block]);
}

interface UstarFields {
  name: Buffer;
  prefix: Buffer;
  linkname: Buffer;
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  devMajor: number;
  devMinor: number;
}

function ustarBlock(fields: UstarFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  for (const key of ["name", "prefix", "linkname"] as const) block.set(fields[key], FIELD[key][0]);
  for (const key of ["mode", "uid", "gid", "size", "mtime", "devMajor", "devMinor"] as const) {
    const [start, length] = FIELD[key];
    block.write(fields[key].toString(8).padStart(length - 1, "0"), start, "latin1");
  }
  block.write(fields.flag, FIELD.typeflag[0], "latin1");
  block.write("ustar\x0000", FIELD.magic[0], "latin1");
  block.write(`${checksum(block).toString(8).padStart(6, "0")}\0 `, FIELD.checksum[0], "latin1");
  return block;
}

/** As ustar's name and prefix; undefined where it does not fit, or is not ASCII. */
function splitName(path: Buffer): { name: Buffer; prefix: Buffer } | undefined {
  if (!isAscii(path)) return undefined;
  if (path.length <= FIELD.name[1]) return { name: path, prefix: Buffer.alloc(0) };
  // A directory's own slash stays with its name.
  const end = path.at(-1) === 47 ? path.length - 2 : path.length - 1;
  const slash = path.lastIndexOf(47, Math.min(end, FIELD.prefix[1]));
  if (slash <= 0 || path.length - slash - 1 > FIELD.name[1]) return undefined;
  return { name: path.subarray(slash + 1), prefix: path.subarray(0, slash) };
}

const isAscii = (bytes: Buffer) => bytes.every((byte) => byte > 0 && byte < 0x80);
