import { readSync } from "node:fs";
import { posix } from "node:path";
import { invalid } from "../../../base/errors.ts";
import { readXattrs } from "../../../layers/attributes.ts";
import { toName } from "../../../layers/entry-path.ts";
import { type TarHeader, type TarType, wholeSeconds } from "../../../layers/tar-header.ts";
import type { TarMember } from "../../../layers/tar-write.ts";
import { close } from "../../../linux/file.ts";

/** What a file has in it. Names of one file share it, so that they are hard links in the layer. */
export interface Content {
  readonly size: number;
  /** A readable descriptor and where it begins there; the caller closes it. */
  open(): { fd: number; from: number };
}

/** A member of the layer that is being made. */
export interface Member {
  readonly type: Exclude<TarType, "hardlink">;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds. */
  readonly mtime: bigint;
  readonly content?: Content;
  readonly linkname?: Uint8Array;
  readonly device?: readonly [major: number, minor: number];
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
  /** O_PATH of what its xattrs are read from, when `xattrs` says nothing; the caller closes it. */
  attributes?(): number;
}

const CHUNK = 1 << 20;

/** Members by their place in the layer ("binary" strings, absolute), the last word on each place winning. */
export class Members {
  readonly #byPath = new Map<string, Member>();

  get(path: string): Member | undefined {
    return this.#byPath.get(path);
  }

  /** A name that a layer would read as a whiteout (image-spec layer.md) is invalid. */
  set(path: string, member: Member): void {
    if (posix.basename(path).startsWith(".wh.")) {
      throw invalid(
        `cannot copy ${JSON.stringify(path)}: in a layer a name with .wh. in front says that a file is gone`,
      );
    }
    const before = this.#byPath.get(path);
    if (before && (before.type === "directory") !== (member.type === "directory")) {
      throw invalid(`cannot copy ${JSON.stringify(path)}: one source has a directory there, another a file`);
    }
    this.#byPath.set(path, member);
  }

  /** In the canonical order: names by their bytes, a directory before what is in it. `latest` is in nanoseconds. */
  *inOrder(latest: bigint | undefined): Generator<TarMember> {
    const key = (path: string) => path.replaceAll("/", "\0");
    const all = [...this.#byPath].map(([path, member]) => ({ path, member, key: key(path) }));
    all.sort((a, b) => (a.key < b.key ? -1 : 1));
    const first = new Map<Content, string>();
    for (const { path, member } of all) {
      const { type, content, linkname, device } = member;
      const name = path.slice(1);
      const xattrs = type === "symlink" ? undefined : xattrsOf(member);
      const mtime = wholeSeconds(latest !== undefined && member.mtime > latest ? latest : member.mtime);
      const header: TarHeader = {
        name: toName(type === "directory" ? `${name}/` : name),
        type,
        mode: member.mode,
        uid: member.uid,
        gid: member.gid,
        size: 0,
        mtime,
        ...(linkname ? { linkname } : {}),
        ...(device ? { devMajor: device[0], devMinor: device[1] } : {}),
        ...(xattrs && xattrs.size > 0 ? { xattrs } : {}),
      };
      const known = content && first.get(content);
      if (known !== undefined) yield { header: { ...header, type: "hardlink", linkname: toName(known) } };
      else if (content) {
        first.set(content, name);
        yield { header: { ...header, size: content.size }, body: bytesOf(content) };
      } else yield { header };
    }
  }
}

function xattrsOf({ xattrs, attributes }: Member): ReadonlyMap<string, Uint8Array> | undefined {
  if (xattrs || !attributes) return xattrs;
  const fd = attributes();
  try {
    return readXattrs(fd);
  } finally {
    close(fd);
  }
}

/** Exactly its size. */
export function* bytesOf(content: Content): Generator<Uint8Array> {
  const { fd, from } = content.open();
  try {
    for (let done = 0; done < content.size; ) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK, content.size - done));
      const n = readSync(fd, buffer, 0, buffer.length, from + done);
      if (n === 0) throw invalid("a file became shorter while it was copied");
      done += n;
      yield buffer.subarray(0, n);
    }
  } finally {
    close(fd);
  }
}
