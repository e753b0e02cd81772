import { readFileSync } from "node:fs";
import type { TarMember } from "../../archive/tar.ts";
import { codeOf } from "../../base/errors.ts";
import type { IgnoreRules } from "../../base/ignore.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, read, readdir, readlinkat, type Stat, statat } from "../../linux/file.ts";
import { ExitError } from "../command.ts";

/** An entry of a build context: what it is, and a stamp that changes when it does. */
export interface ContextEntry {
  path: string;
  stamp: string;
  stat: Stat;
  link?: string;
}

/** A file that changed so short before it was looked at may change again without its times telling. */
const RACY_NS = 50_000_000n;

/** The files of a directory that are not ignored, sorted, parents first. */
export function walkContext(directory: string, rules: IgnoreRules): ContextEntry[] {
  const entries: ContextEntry[] = [];
  const racy = BigInt(Date.now()) * 1_000_000n - RACY_NS;
  const walk = (fd: number, above: string): void => {
    const names = [...readdir(fd)].map(({ name }) => name).sort(Buffer.compare);
    for (const bytes of names) {
      const name = bytes.toString();
      if (name.includes("\ufffd")) throw new ExitError(1, `${above}${name}: its name is not UTF-8`);
      const path = above + name;
      const stat = statat(fd, bytes);
      const type = stat.mode & k.S_IFMT;
      const excluded = !rules.empty && rules.excludes(path);
      if (type === k.S_IFDIR) {
        if (excluded && !rules.mayContain(path)) continue;
        const at = entries.length;
        const mode = (stat.mode & 0o7777).toString(8);
        entries.push({ path, stamp: `d${mode}`, stat });
        const child = openat(fd, bytes, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
        try {
          walk(child, `${path}/`);
        } finally {
          close(child);
        }
        // An ignored directory is there for what is in it alone.
        if (excluded && entries.length === at + 1) entries.pop();
        continue;
      }
      if (excluded) continue;
      if (type === k.S_IFLNK) {
        const link = readlinkat(fd, bytes).toString();
        entries.push({ path, stamp: `l${link}`, stat, link });
      } else if (type === k.S_IFREG) {
        const { size, mtime, ctime, ino, mode } = stat;
        const unsure = ctime > racy ? ` ${Math.random()}` : "";
        entries.push({
          path,
          stamp: `f${(mode & 0o7777).toString(8)} ${size} ${mtime} ${ctime} ${ino}${unsure}`,
          stat,
        });
      }
    }
  };
  let root: number;
  try {
    root = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  } catch (error) {
    throw new ExitError(1, `unable to prepare context: open ${directory}: ${codeOf(error) ?? String(error)}`);
  }
  try {
    walk(root, "");
  } finally {
    close(root);
  }
  return entries;
}

const SMALL = 1 << 20;

/** Members of a tar of these entries. What has gone meanwhile is left out, what has changed comes as it is now. */
export async function* members(directory: string, entries: readonly ContextEntry[]): AsyncGenerator<TarMember> {
  for (const { path, stat, link } of entries) {
    const header = { name: path, mode: stat.mode & 0o7777, uid: 0, gid: 0, mtime: stat.mtime };
    if (link !== undefined) {
      yield { header: { ...header, type: "symlink", size: 0, linkname: link } };
      continue;
    }
    if ((stat.mode & k.S_IFMT) === k.S_IFDIR) {
      yield { header: { ...header, name: `${path}/`, type: "directory", size: 0 } };
      continue;
    }
    try {
      if (stat.size <= SMALL) {
        const bytes = readFileSync(`${directory}/${path}`);
        yield { header: { ...header, type: "file", size: bytes.length }, body: [bytes] };
      } else {
        const fd = openat(k.AT_FDCWD, `${directory}/${path}`, k.O_RDONLY | k.O_NOFOLLOW);
        try {
          const { size } = statat(fd, "");
          yield { header: { ...header, type: "file", size }, body: chunks(fd, size) };
        } finally {
          close(fd);
        }
      }
    } catch (error) {
      if (codeOf(error) === "ENOENT") continue;
      throw error;
    }
  }
}

/** As many bytes as the header has said, whatever the file does meanwhile. */
function* chunks(fd: number, size: number): Generator<Uint8Array> {
  for (let left = size; left > 0; ) {
    const buffer = Buffer.allocUnsafe(Math.min(left, 1 << 18));
    const count = read(fd, buffer);
    if (count === 0) {
      yield Buffer.alloc(left);
      return;
    }
    left -= count;
    yield buffer.subarray(0, count);
  }
}

/** Small pieces made one. */
export async function* gathered(pieces: AsyncIterable<Uint8Array>, size = 1 << 18): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let total = 0;
  for await (const piece of pieces) {
    held.push(piece);
    total += piece.length;
    if (total < size) continue;
    yield held.length === 1 ? held[0]! : Buffer.concat(held);
    held = [];
    total = 0;
  }
  if (total > 0) yield Buffer.concat(held);
}
