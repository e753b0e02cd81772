import { readFile } from "node:fs/promises";
import { isDigest, sha256 } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { readTar } from "../layers/tar-read.ts";
import type { Hold } from "./holds.ts";
import { type Spool, type SpooledFile, storeBlob, storeFile } from "./spool.ts";
import type { ImageStore } from "./store.ts";

type Member = { blob: string; size: number } | { file: SpooledFile } | { link: string };

const MAX_MEMBERS = 100_000;
const MAX_HOPS = 40;

/**
 * An image archive, read to its end. Its members are found by name in memory only, so no name and no symlink of it ever
 * reaches the file system. `blobs/sha256/…` are in the content store at once (verified, held), the rest in the spool.
 */
export class ImageArchive {
  private readonly members = new Map<string, Member>();

  private constructor(
    private readonly store: ImageStore,
    private readonly hold: Hold,
    private readonly signal: AbortSignal,
  ) {}

  static async read(
    source: AsyncIterable<Uint8Array>,
    context: { store: ImageStore; spool: Spool; hold: Hold; signal: AbortSignal },
  ): Promise<ImageArchive> {
    const { store, spool, hold, signal } = context;
    const archive = new ImageArchive(store, hold, signal);
    for await (const { name, type, linkname, size, body } of readTar(source)) {
      signal.throwIfAborted();
      const path = normalize(name);
      if (archive.members.size >= MAX_MEMBERS) throw invalid(`image archive has more than ${MAX_MEMBERS} members`);
      if (type === "symlink") archive.members.set(path, { link: normalize(linkname, path) });
      else if (type === "hardlink") archive.members.set(path, { link: normalize(linkname) });
      if (type !== "file") continue;
      const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
      if (hex === undefined) archive.members.set(path, { file: await spool.add(body, signal) });
      else {
        const blob = `sha256:${hex}`;
        await storeBlob(store, { digest: blob, size, source: body }, hold, signal);
        archive.members.set(path, { blob, size: store.content.size(blob) });
      }
    }
    return archive;
  }

  has(path: string): boolean {
    return this.find(path) !== undefined;
  }

  /** The content of a small member. A missing one is invalid, as is one over `limit` bytes. */
  async bytes(path: string, limit: number): Promise<Buffer> {
    const member = this.member(path);
    const size = "blob" in member ? member.size : member.file.size;
    if (size > limit) throw invalid(`image archive: ${shown(path)} is larger than ${limit} bytes`);
    return "blob" in member ? this.store.content.read(member.blob, limit) : readFile(member.file.path);
  }

  /** Puts a member into the content store; answers its digest. */
  async stored(path: string): Promise<string> {
    const member = this.member(path);
    if ("blob" in member) return member.blob;
    await storeFile(this.store, member.file, this.hold, this.signal);
    return member.file.digest;
  }

  /** A blob of an OCI layout. One that is not in the archive may be in the content store already. */
  async blob(digest: string, limit: number): Promise<Buffer> {
    if (!isDigest(digest)) throw invalid("image archive: invalid digest");
    const path = `blobs/${digest.replace(":", "/")}`;
    const bytes = await this.bytes(path, limit);
    if (digest.startsWith("sha256:") && sha256(bytes) !== digest) throw invalid(`image archive: ${path} is corrupt`);
    return bytes;
  }

  private member(path: string): Exclude<Member, { link: string }> {
    const member = this.find(path) ?? this.known(path);
    if (!member) throw invalid(`image archive: no ${shown(path)} in it`);
    return member;
  }

  /** A blob that is here already: who sends images from engine to engine leaves it out. */
  private known(path: string): Exclude<Member, { link: string }> | undefined {
    const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    const blob = `sha256:${hex}`;
    if (hex === undefined || !this.store.content.has(blob)) return undefined;
    this.hold.blob(blob);
    return { blob, size: this.store.content.size(blob) };
  }

  /** Follows symlinks, of the last and of every other component, inside the archive. */
  private find(path: string): Exclude<Member, { link: string }> | undefined {
    let current = normalize(path);
    for (let hops = 0; hops < MAX_HOPS; hops++) {
      const parts = current.split("/");
      let next: string | undefined;
      for (let i = 1; i <= parts.length && next === undefined; i++) {
        const member = this.members.get(parts.slice(0, i).join("/"));
        if (member && "link" in member) next = normalize([member.link, ...parts.slice(i)].join("/"));
        else if (i === parts.length) return member;
      }
      current = next!;
    }
    throw invalid(`image archive: too many symlinks at ${shown(path)}`);
  }
}

/** A path from the archive's root, where `..` ends; relative to the directory of `from` when given. */
function normalize(path: string, from = ""): string {
  const base = path.startsWith("/") ? [] : from.split("/").slice(0, -1);
  const parts: string[] = [];
  for (const part of [...base, ...path.split("/")]) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

const shown = (path: string) => JSON.stringify(path.slice(0, 200));
