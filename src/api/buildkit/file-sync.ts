import { posix } from "node:path";
import { writeTar } from "../../archive/tar.ts";
import { invalid } from "../../base/errors.ts";
import type { TarMember } from "../../layers/tar-write.ts";
import { GO_DIRECTORY, GO_OTHER, GO_SYMLINK, PACKET, permissions } from "./file-mode.ts";
import { type GrpcStream, openCall } from "./grpc.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import type { Session } from "./sessions.ts";

/**
 * The client's files by `moby.filesync.v1.FileSync/DiffCopy`, which is fsutil's protocol: it sends what every file is,
 * numbered by their order, then the contents of those that are asked for, several at once.
 */
const METHOD = "/moby.filesync.v1.FileSync/DiffCopy";
const MOST_FILES = 4_000_000;
/** Bytes that are asked for ahead. */
const AHEAD = 8 << 20;
const MOST_AHEAD = 64;
const SMALL = 1 << 20;
const MOST_LINKS = 40;

export interface SyncOptions {
  /** `context`, `dockerfile`, or that of a named context. */
  readonly name: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Paths whose symlinks are followed: what they lead to is listed too. */
  readonly follow?: readonly string[];
}

interface RemoteFile {
  readonly number: number;
  readonly path: string;
  readonly mode: number;
  readonly size: number;
  /** Nanoseconds. */
  readonly mtime: bigint;
  readonly linkname: string;
}

/** One transfer. Its files are listed when it is opened; the caller closes it. */
export class FileSync {
  readonly #waiting = new Map<number, { chunks: Buffer[]; done: boolean; left: number }>();
  readonly #messages: AsyncGenerator<Buffer>;

  private constructor(
    private readonly stream: GrpcStream,
    /** Without what no context has: devices, sockets and pipes. */
    readonly files: RemoteFile[],
    messages: AsyncGenerator<Buffer>,
  ) {
    this.#messages = messages;
  }

  /** Errors: GrpcError when the client offers no such directory; invalid for a listing that is none. */
  static async open(
    session: Session,
    { name, include, exclude, follow }: SyncOptions,
    signal: AbortSignal,
  ): Promise<FileSync> {
    const metadata = {
      ...encoded("dir-name", [name]),
      ...(include ? encoded("include-patterns", include) : {}),
      ...(exclude?.length ? encoded("exclude-patterns", exclude) : {}),
      ...(follow ? encoded("followpaths", follow) : {}),
    };
    const stream = openCall(session.http2, METHOD, metadata, AbortSignal.any([signal, session.gone]));
    const messages = stream.messages();
    const files: RemoteFile[] = [];
    try {
      for (let number = 0; ; number++) {
        const packet = await nextPacket(messages);
        if (packet.uint(1) !== PACKET.stat) throw invalid("the client sent no listing of its files");
        const stat = packet.message(2);
        if (!stat) break;
        if (number >= MOST_FILES) throw invalid(`a build context of more than ${MOST_FILES} files`);
        const file = remoteFile(number, stat);
        if ((file.mode & GO_OTHER) === 0) files.push(file);
      }
      return new FileSync(stream, files, messages);
    } catch (error) {
      stream.cancel();
      throw error;
    }
  }

  /** What each file is, for {@link Contexts.sync}: a path, and a stamp that changes when it does. */
  listing(): string {
    const stamps = new Map<string, string>();
    for (const file of this.files) {
      const { path, mode, size, mtime, linkname } = file;
      const rights = permissions(mode).toString(8);
      if (isDirectory(mode)) stamps.set(path, `d${rights}`);
      else if (isSymlink(mode)) stamps.set(path, `l${linkname}`);
      else if (isHardLink(file)) {
        const target = stamps.get(linkname);
        if (!target?.startsWith("f")) {
          throw invalid(
            `${path.slice(0, 200)} is listed as a link to ${linkname.slice(0, 200)}, which is no file before it`,
          );
        }
        // A target that comes anew is another file.
        stamps.set(path, `${target} = ${linkname}`);
      } else stamps.set(path, `f${rights} ${size} ${mtime}`);
    }
    if (stamps.size !== this.files.length) throw invalid("the client listed a file twice");
    return JSON.stringify([...stamps]);
  }

  /** A tar of these entries of the listing, in their order. */
  fetch(entries: readonly number[]): AsyncIterable<Uint8Array> {
    return writeTar(this.#members(entries.map((at) => this.files[at]!)));
  }

  /** The file of this path, symlinks and further names among the listed files followed. */
  find(path: string): RemoteFile | undefined {
    let at = path;
    for (let links = 0; links < MOST_LINKS; links++) {
      const file = this.files.find((one) => one.path === at);
      if (!file || isDirectory(file.mode)) return undefined;
      if (isHardLink(file)) at = file.linkname;
      else if (!isSymlink(file.mode)) return file;
      else at = posix.join("/", posix.dirname(at), file.linkname).slice(1);
    }
    return undefined;
  }

  /** One file's content. */
  async read(file: RemoteFile, limit: number): Promise<Buffer> {
    if (file.size > limit) throw invalid(`${file.path.slice(0, 200)} is larger than ${limit} bytes`);
    if (file.size === 0) return Buffer.alloc(0);
    await this.#request(file, limit);
    return Buffer.concat(await Array.fromAsync(this.#content(file)));
  }

  async *#members(files: readonly RemoteFile[]): AsyncGenerator<TarMember> {
    const contents = files.filter(hasContent);
    let asked = 0;
    let ahead = 0;
    for (const file of files) {
      const { path, mode, mtime, linkname, size } = file;
      const header = { name: path, mode: permissions(mode), uid: 0, gid: 0, size: 0, mtime };
      if (isDirectory(mode)) yield { header: { ...header, name: `${path}/`, type: "directory" } };
      else if (isSymlink(mode)) yield { header: { ...header, type: "symlink", linkname } };
      else if (isHardLink(file)) yield { header: { ...header, type: "hardlink", linkname } };
      else if (size === 0) yield { header: { ...header, type: "file" } };
      else {
        while (
          asked < contents.length &&
          this.#waiting.size < MOST_AHEAD &&
          (ahead === 0 || ahead + contents[asked]!.size <= AHEAD)
        ) {
          const next = contents[asked++]!;
          ahead += next.size;
          // A small one may have grown since it was listed.
          await this.#request(next, Math.max(next.size, SMALL));
        }
        if (size > SMALL) yield { header: { ...header, type: "file", size }, body: this.#content(file) };
        else {
          const body = await Array.fromAsync(this.#content(file));
          const length = body.reduce((sum, chunk) => sum + chunk.length, 0);
          yield { header: { ...header, type: "file", size: length }, body };
        }
        ahead -= size;
      }
    }
  }

  /** More than `limit` bytes of it are an error. */
  async #request({ number }: RemoteFile, limit: number): Promise<void> {
    this.#waiting.set(number, { chunks: [], done: false, left: limit });
    await this.stream.send(new MessageWriter().uint(1, PACKET.request).uint(3, number).finish());
  }

  async *#content({ number }: RemoteFile): AsyncGenerator<Buffer> {
    const file = this.#waiting.get(number)!;
    for (;;) {
      const chunk = file.chunks.shift();
      if (chunk) yield chunk;
      else if (file.done) break;
      else await this.#next();
    }
    this.#waiting.delete(number);
  }

  async #next(): Promise<void> {
    const packet = await nextPacket(this.#messages);
    const file = this.#waiting.get(packet.uint(3));
    if (packet.uint(1) !== PACKET.data || !file) throw invalid("the client sent what nobody asked for");
    const data = packet.bytes(4);
    file.left -= data.length;
    if (file.left < 0) throw invalid("the client sent more of a file than it may have");
    if (data.length === 0) file.done = true;
    else file.chunks.push(data);
  }

  /** Says that nothing more is wanted. */
  async close(): Promise<void> {
    try {
      await this.stream.send(new MessageWriter().uint(1, PACKET.end).finish());
      this.stream.end();
      for await (const _ of this.#messages);
    } catch {
      // It is over either way.
    } finally {
      this.stream.cancel();
    }
  }
}

const isDirectory = (mode: number) => (mode & GO_DIRECTORY) !== 0;
const isSymlink = (mode: number) => (mode & GO_SYMLINK) !== 0;
/** A further name of a file: newer clients list it without a size. */
const isHardLink = ({ mode, linkname }: RemoteFile) => linkname !== "" && !isDirectory(mode) && !isSymlink(mode);
const hasContent = (file: RemoteFile) =>
  !isDirectory(file.mode) && !isSymlink(file.mode) && !isHardLink(file) && file.size > 0;

function remoteFile(number: number, stat: MessageReader): RemoteFile {
  const size = Number(stat.int64(5));
  if (!Number.isSafeInteger(size) || size < 0) throw invalid("the client listed a file of no possible size");
  return {
    number,
    path: stat.text(1),
    mode: stat.uint(2),
    size,
    mtime: stat.int64(6),
    linkname: stat.text(7),
  };
}

async function nextPacket(messages: AsyncGenerator<Buffer>): Promise<MessageReader> {
  const { value, done } = await messages.next();
  if (done) throw invalid("the client ended the transfer of its files early");
  const packet = new MessageReader(value);
  if (packet.uint(1) === PACKET.error) throw invalid(`transfer of files: ${packet.text(4).slice(0, 1000)}`);
  return packet;
}

/** Headers hold ASCII: other values are escaped, which a header of its own says. */
function encoded(name: string, values: readonly string[]): Record<string, string[]> {
  if (values.every((value) => /^[\x20-\x7e]*$/.test(value))) return { [name]: [...values] };
  return { [name]: values.map(encodeURIComponent), [`${name}-encoded`]: ["1"] };
}
