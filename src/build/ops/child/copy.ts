import { openSync } from "node:fs";
import { posix } from "node:path";
import { invalid } from "../../../base/errors.ts";
import { readFileChunks } from "../../../layers/compression.ts";
import { isDirectory } from "../../../layers/merged.ts";
import { tarTypeOf } from "../../../layers/tar-header.ts";
import { writeTar } from "../../../layers/tar-write.ts";
import * as k from "../../../linux/constants.ts";
import { close, readlinkat, type Stat } from "../../../linux/file.ts";
import { parseUserSpec, readUserFiles, resolveUser } from "../../../security/users.ts";
import { parseChmod } from "./chmod.ts";
import { type Content, type Member, Members } from "./members.ts";
import { OpenRoot } from "./roots.ts";
import { binary, excludesFile, rulesOf, type Source, select, walk } from "./select.ts";
import { BodySpool, isArchive, unpack } from "./unpack.ts";
import type { CopyItem, CopyWork } from "./work.ts";

type Owner = { uid: number; gid: number };
const NANO = 1_000_000_000n;

/** The layer of a COPY or ADD as a tar: two equal works give equal bytes. Errors are notFound and invalid. */
export async function* copyTar(work: CopyWork): AsyncGenerator<Uint8Array> {
  const copy = new Copy(work);
  try {
    if (work.directoryOnly) copy.makeDestination();
    for (const item of work.items) await copy.item(item);
    yield* writeTar(copy.members.inOrder(work.epoch === undefined ? undefined : BigInt(work.epoch) * NANO));
  } finally {
    copy.close();
  }
}

class Copy {
  readonly members = new Members();
  readonly #base: OpenRoot;
  readonly #roots: OpenRoot[] = [];
  readonly #spool: BodySpool;
  readonly #owner: Owner | undefined;
  readonly #chmod: ((mode: number, directory: boolean) => number) | undefined;
  readonly #rules: ReturnType<typeof rulesOf>;
  readonly #destination: string;
  readonly #many: boolean;
  /** Where directories of the destination are, symlinks of the base followed. */
  readonly #directories = new Map<string, { path: string; inBase: boolean }>();
  /** Of files with several names: `device:inode` in a root. */
  readonly #linked = new Map<string, Content>();
  readonly #now = BigInt(Date.now()) * 1_000_000n;

  constructor(private readonly work: CopyWork) {
    this.#base = new OpenRoot(work.base);
    this.#spool = new BodySpool(work.directory);
    this.#rules = rulesOf(work.excludes);
    this.#chmod = work.chmod ? parseChmod(work.chmod) : undefined;
    this.#owner = work.chown ? ownerOf(work.chown, this.#base) : undefined;
    this.#destination = binary(posix.resolve("/", work.destination));
    const sources = work.items.flatMap((item) => (item.kind === "files" ? item.paths : [item.name]));
    this.#many = sources.length > 1 || work.destination.endsWith("/") || work.parents;
  }

  close(): void {
    for (const root of [this.#base, ...this.#roots]) root.close();
    this.#spool.close();
  }

  makeDestination(): void {
    this.#directory(this.#destination);
  }

  async item(item: CopyItem): Promise<void> {
    if (item.kind === "files") {
      const root = new OpenRoot(item.root);
      this.#roots.push(root);
      const sources = [...select(root, item.paths, this.work.parents)];
      for (const source of sources) await this.#source(root, source, item.owners === "kept", sources.length > 1);
      return;
    }
    if (item.kind === "download" && item.unpack) {
      await this.#unpack(() => readFileChunks(item.path));
      return;
    }
    const to = this.#placeOfFile(binary(item.name), false);
    const owner = this.#owner ?? { uid: 0, gid: 0 };
    if (item.kind === "file") {
      const data = Buffer.from(item.content, "base64");
      const from = this.#spool.offset;
      this.#spool.write(data);
      const content = this.#spool.content(from, data.length);
      this.members.set(to, { type: "file", mode: this.#mode(item.mode, false), ...owner, mtime: this.#made, content });
      return;
    }
    const { size } = Bun.file(item.path);
    const content = { size, open: () => ({ fd: openSync(item.path, "r"), from: 0 }) };
    const mtime = BigInt(item.mtime) * NANO;
    this.members.set(to, { type: "file", mode: this.#mode(0o600, false), ...owner, mtime, content });
  }

  async #source(root: OpenRoot, source: Source, keepOwners: boolean, several: boolean): Promise<void> {
    const { named, path, stat } = source;
    let top = this.#destination;
    for (const parent of source.parents) {
      const found = root.find(parent.path)!;
      top = posix.join(top, parent.name);
      this.#putDirectory(top, this.#member(root, found.path, found.stat, keepOwners)!);
    }
    if (isDirectory(stat)) {
      if (this.work.parents && named !== "/") top = posix.join(top, posix.basename(named));
      // The top of a context is the engine's own directory.
      const own = path === "/" && !keepOwners ? { ...stat, mode: k.S_IFDIR | 0o755, mtime: this.#made } : stat;
      this.#putTop(top, this.#member(root, path, own, keepOwners)!);
      for (const file of walk(root, path, this.#rules)) {
        const member = this.#member(root, file.path, file.stat, keepOwners);
        if (!member) continue;
        const to = posix.join(top, file.inside);
        if (member.type === "directory") this.#putDirectory(to, member);
        else this.#putFile(to, member);
      }
      return;
    }
    if (!this.#rules.empty && excludesFile(this.#rules, named)) return;
    if (this.work.unpack && (stat.mode & k.S_IFMT) === k.S_IFREG) {
      const chunks = () => readChunks(root, path);
      if (await isArchive(chunks())) {
        await this.#unpack(chunks);
        return;
      }
    }
    const member = this.#member(root, path, stat, keepOwners);
    if (!member) return;
    if (source.parents.length > 0) this.#putFile(posix.join(top, posix.basename(named)), member);
    else this.members.set(this.#placeOfFile(posix.basename(named), several), member);
  }

  /** What a file of a root becomes; undefined for a socket, which no layer holds. */
  #member(root: OpenRoot, path: string, stat: Stat, keepOwners: boolean): Member | undefined {
    const type = tarTypeOf(stat.mode);
    if (type === undefined || type === "hardlink") return undefined;
    const member = {
      type,
      mode: this.#mode(stat.mode & 0o7777, type === "directory", type === "symlink"),
      ...(this.#owner ?? (keepOwners ? { uid: stat.uid, gid: stat.gid } : { uid: 0, gid: 0 })),
      mtime: stat.mtime,
    };
    if (type === "symlink") return { ...member, linkname: linkOf(root, path) };
    const attributes = () => root.open(path, k.O_PATH);
    if (type === "char" || type === "block") {
      return { ...member, attributes, device: [stat.rdevMajor, stat.rdevMinor] };
    }
    return type === "file"
      ? { ...member, attributes, content: this.#content(root, path, stat) }
      : { ...member, attributes };
  }

  #content(root: OpenRoot, path: string, stat: Stat): Content {
    const inode = `${this.#roots.indexOf(root)}:${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
    const known = stat.nlink > 1 ? this.#linked.get(inode) : undefined;
    if (known) return known;
    const open = () => ({ fd: root.open(path, k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY), from: 0 });
    const content = { size: stat.size, open };
    if (stat.nlink > 1) this.#linked.set(inode, content);
    return content;
  }

  #mode(mode: number, directory: boolean, symlink = false): number {
    return this.#chmod && !symlink ? this.#chmod(mode, directory) : mode;
  }

  /** The time of what was no file before. */
  get #made(): bigint {
    return this.work.epoch === undefined ? this.#now : BigInt(this.work.epoch) * NANO;
  }

  /** Where a single file goes: into the destination where that is a directory, or has to be one. */
  #placeOfFile(name: string, several: boolean): string {
    const directory =
      this.#many || several || this.#directories.has(this.#destination) || this.#isDirectory(this.#destination);
    const to = directory ? posix.join(this.#destination, name) : this.#destination;
    return this.#free(to);
  }

  #isDirectory(path: string): boolean {
    const found = this.#base.find(path);
    return path === "/" || (found !== undefined && isDirectory(found.stat));
  }

  #putFile(to: string, member: Member): void {
    this.members.set(this.#free(to), member);
  }

  /** The place of a file in the layer; its directories are made. A directory of the base does not give way to it. */
  #free(to: string): string {
    const parent = this.#directory(posix.dirname(to));
    const path = posix.join(parent.path, posix.basename(to));
    const there = parent.inBase ? this.#base.entry(path) : undefined;
    if (there && isDirectory(there)) throw invalid(`cannot copy over directory: ${shown(to)}`);
    return path;
  }

  /** A directory that is there takes the attributes of the source's, as in BuildKit; one behind a symlink keeps its own. */
  #putDirectory(to: string, member: Member): void {
    const { path } = this.#directory(to);
    const direct = path === posix.join(this.#directory(posix.dirname(to)).path, posix.basename(to));
    if (direct && to !== "/") this.members.set(path, member);
  }

  /** The destination itself: what is there keeps its attributes. */
  #putTop(to: string, member: Member): void {
    const known = this.#directories.get(to);
    const { path, inBase } = this.#directory(to);
    if (!known && !inBase && to !== "/") this.members.set(path, member);
  }

  /** Where a directory of the destination is; made, with those above it, where there is none. */
  #directory(logical: string): { path: string; inBase: boolean } {
    const known = this.#directories.get(logical);
    if (known) return known;
    const made = this.#makeDirectory(logical);
    this.#directories.set(logical, made);
    return made;
  }

  #makeDirectory(logical: string): { path: string; inBase: boolean } {
    if (logical === "/") return { path: "/", inBase: this.#base.fd !== undefined };
    const parent = this.#directory(posix.dirname(logical));
    const path = posix.join(parent.path, posix.basename(logical));
    const placed = this.members.get(path);
    if (placed && placed.type !== "directory") throw invalid(`cannot copy to non-directory: ${shown(logical)}`);
    const found = parent.inBase && !placed ? this.#base.find(path) : undefined;
    if (found) {
      if (!isDirectory(found.stat)) throw invalid(`cannot copy to non-directory: ${shown(logical)}`);
      return { path: found.path, inBase: true };
    }
    const owner = this.#owner ?? { uid: 0, gid: 0 };
    if (!placed) this.members.set(path, { type: "directory", mode: 0o755, ...owner, mtime: this.#made });
    return { path, inBase: false };
  }

  async #unpack(chunks: () => AsyncIterable<Uint8Array>): Promise<void> {
    const top = this.#destination;
    this.#directory(top);
    const owned = (member: Member) => (this.#owner ? { ...member, ...this.#owner } : member);
    await unpack(chunks(), this.#spool, {
      put: (inside, member) => {
        const to = posix.join(top, inside);
        if (member.type === "directory") this.#putDirectory(to, owned(member));
        else this.#putFile(to, owned(member));
      },
      contentOf: (inside) => {
        const to = posix.join(top, inside);
        const parent = this.#directories.get(posix.dirname(to));
        return parent && this.members.get(posix.join(parent.path, posix.basename(to)))?.content;
      },
    });
  }
}

const shown = (path: string) => Buffer.from(path, "latin1").toString();

function linkOf(root: OpenRoot, path: string): Buffer {
  const fd = root.open(path, k.O_PATH);
  try {
    return readlinkat(fd, "");
  } finally {
    close(fd);
  }
}

async function* readChunks(root: OpenRoot, path: string): AsyncGenerator<Uint8Array> {
  const fd = root.open(path, k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY);
  try {
    yield* readFileChunks(`/proc/self/fd/${fd}`);
  } finally {
    close(fd);
  }
}

/** Names are those of the base image. A user without a group has its own: a name that of passwd, a number itself. */
function ownerOf(chown: string, base: OpenRoot): Owner {
  const { user, group } = parseUserSpec(chown);
  const files = base.fd === undefined ? { passwd: undefined, group: undefined } : readUserFiles(base.fd);
  const { uid, gid } = resolveUser(files, chown);
  return { uid, gid: !group && user && "id" in user ? uid : gid };
}
