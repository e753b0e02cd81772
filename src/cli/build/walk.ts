import { lstatSync, readFileSync } from "node:fs";
import type { TarMember } from "../../archive/tar.ts";
import { codeOf } from "../../base/errors.ts";
import type { IgnoreRules } from "../../base/ignore.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, read, readlinkat, statat } from "../../linux/file.ts";
import { scan } from "../../linux/scan.ts";
import { ExitError } from "../command.ts";

/** An entry of a build context: what it is, and a stamp that changes when it does. */
export interface ContextEntry {
  path: string;
  stamp: string;
  mode: number;
  size: number;
  link?: string;
}

/** A file that changed so short before it was looked at may change again without its times telling; in seconds. */
const RACY = 0.05;

/** The files of a directory that are not ignored, sorted, parents first. */
export function walkContext(directory: string, rules: IgnoreRules): ContextEntry[] {
  const entries: ContextEntry[] = [];
  const racy = Date.now() / 1000 - RACY;
  const walk = (fd: number, above: string): void => {
    const names = scan(fd);
    for (const { name } of names)
      if (name === undefined) throw new ExitError(1, `${above || "."}: a name in it is not UTF-8`);
    names.sort((a, b) => (a.name! < b.name! ? -1 : 1));
    for (const { name, mode, size, stamp, ctime } of names) {
      const path = above + name!;
      const type = mode & k.S_IFMT;
      const excluded = !rules.empty && rules.excludes(path);
      if (type === k.S_IFDIR) {
        if (excluded && !rules.mayContain(path)) continue;
        const at = entries.length;
        entries.push({ path, stamp: `d${(mode & 0o7777).toString(8)}`, mode, size });
        const child = openat(fd, name!, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
        try {
          walk(child, `${path}/`);
        } finally {
          close(child);
        }
        // An ignored directory is there for what is in it alone.
        if (excluded && entries.length === at + 1) entries.pop();
      } else if (excluded) continue;
      else if (type === k.S_IFLNK) {
        const link = readlinkat(fd, name!).toString();
        entries.push({ path, stamp: `l${link}`, mode, size, link });
      } else if (type === k.S_IFREG) {
        const unsure = ctime > racy ? ` ${Math.random()}` : "";
        entries.push({ path, stamp: `f${stamp}${unsure}`, mode, size });
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
  for (const { path, mode, size: listed, link } of entries) {
    const stat = lstatSync(`${directory}/${path}`, { bigint: true, throwIfNoEntry: false });
    if (!stat) continue;
    const header = { name: path, mode: mode & 0o7777, uid: 0, gid: 0, mtime: stat.mtimeNs };
    if (link !== undefined) {
      yield { header: { ...header, type: "symlink", size: 0, linkname: link } };
      continue;
    }
    if ((mode & k.S_IFMT) === k.S_IFDIR) {
      yield { header: { ...header, name: `${path}/`, type: "directory", size: 0 } };
      continue;
    }
    try {
      if (listed <= SMALL) {
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
