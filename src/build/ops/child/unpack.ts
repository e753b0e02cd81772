import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { invalid, messageOf } from "../../../base/errors.ts";
import { decompressAny } from "../../../images/decompress.ts";
import { isPortableXattr } from "../../../layers/attributes.ts";
import { entryPath } from "../../../layers/entry-path.ts";
import { BLOCK, checksum } from "../../../layers/tar-header.ts";
import { readTar, type TarEntry } from "../../../layers/tar-read.ts";
import * as k from "../../../linux/constants.ts";
import { close, openat } from "../../../linux/file.ts";
import type { Content, Member } from "./members.ts";

/** Where entries of an archive go. */
export interface Unpacked {
  /** `inside` is clean, "binary", and "" for the archive's own top. */
  put(inside: string, member: Member): void;
  /** The content of what was put at `inside`. */
  contentOf(inside: string): Content | undefined;
}

const MOST_ENTRIES = 4_000_000;

/** Whether this is a tar, perhaps compressed (gzip, zstd, bzip2, xz): its first block says so. */
export async function isArchive(source: AsyncIterable<Uint8Array>): Promise<boolean> {
  try {
    let head = Buffer.alloc(0);
    for await (const chunk of decompressAny(source)) {
      head = Buffer.concat([head, chunk]);
      if (head.length >= BLOCK) break;
    }
    if (head.length < BLOCK) return false;
    const written = Number.parseInt(head.toString("latin1", 148, 156).replace(/\0.*$/s, "").trim(), 8);
    return written === checksum(head.subarray(0, BLOCK)) && head[0] !== 0;
  } catch {
    // Not what its first bytes promise: then it is copied as it is.
    return false;
  }
}

/** Bodies of unpacked archives: the members are sorted before they are written. The caller closes it. */
export class BodySpool {
  readonly #path: string;
  #fd: number | undefined;
  #size = 0;

  constructor(directory: string) {
    this.#path = join(directory, "unpacked");
  }

  close(): void {
    if (this.#fd !== undefined) close(this.#fd);
  }

  write(data: Uint8Array): void {
    this.#fd ??= openSync(this.#path, "wx", 0o600);
    for (let done = 0; done < data.length; ) done += writeSync(this.#fd, data, done);
    this.#size += data.length;
  }

  get offset(): number {
    return this.#size;
  }

  content(from: number, size: number): Content {
    return { size, open: () => ({ fd: openat(k.AT_FDCWD, this.#path, k.O_RDONLY), from }) };
  }
}

/** The entries of an archive. Its names never lead out of where they are put; errors are invalid and name the entry. */
export async function unpack(source: AsyncIterable<Uint8Array>, spool: BodySpool, into: Unpacked): Promise<void> {
  let count = 0;
  for await (const entry of readTar(decompressAny(source))) {
    const wrong = (what: string) => invalid(`archive entry ${JSON.stringify(entry.name.slice(0, 300))}: ${what}`);
    if (++count > MOST_ENTRIES) throw wrong(`the archive has more than ${MOST_ENTRIES}`);
    const inside = within(entry.nameBytes, wrong);
    const member = memberOf(entry);
    if (entry.type === "hardlink") {
      const content = into.contentOf(within(entry.linknameBytes, wrong));
      if (!content) throw wrong("a hard link to what is not in the archive");
      into.put(inside, { ...member, type: "file", content });
    } else if (entry.type === "file") {
      if (inside === "") throw wrong("a file without a name");
      const from = spool.offset;
      for await (const chunk of entry.body) spool.write(chunk);
      into.put(inside, { ...member, type: "file", content: spool.content(from, entry.size) });
    } else if (inside !== "") into.put(inside, { ...member, type: entry.type });
  }
}

function within(name: Uint8Array, wrong: (what: string) => Error): string {
  try {
    return entryPath(name).join("/");
  } catch (error) {
    throw wrong(messageOf(error));
  }
}

function memberOf({
  mode,
  uid,
  gid,
  mtime,
  type,
  linknameBytes,
  devMajor,
  devMinor,
  xattrs,
}: TarEntry): Omit<Member, "type"> {
  return {
    mode: mode & 0o7777,
    uid,
    gid,
    mtime,
    xattrs: new Map([...xattrs].filter(([name]) => isPortableXattr(name))),
    ...(type === "symlink" ? { linkname: linknameBytes } : {}),
    ...(type === "char" || type === "block" ? { device: [devMajor, devMinor] as const } : {}),
  };
}
