import fs from "node:fs";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import zlib from "node:zlib";
import { readFrame, readSeekTable, type SeekTable } from "./seekable-zstd.ts";

const read = promisify(fs.read);

/** One of a log's files, as it reads without its compression. {@link close} it. */
export interface Source {
  /** Bytes when it was opened, of a file that may grow. */
  readonly opened?: number;
  /** Bytes at present; only the current file of a log grows. */
  size(): Promise<number>;
  /** As pread(2): how many bytes, 0 at the end. */
  read(into: Buffer, offset: number, length: number, position: number): Promise<number>;
  close(): void;
}

/** Opens a file now, so that it stays though it is rotated away; what it costs to read a compressed one comes later. */
export function openSource(path: string): Source {
  const fd = fs.openSync(path, "r");
  if (path.endsWith(".zst")) return new ZstdSource(fd);
  if (path.endsWith(".gz")) return new GzipSource(fd, path);
  return new PlainSource(fd);
}

class PlainSource implements Source {
  readonly opened: number;

  constructor(private readonly fd: number) {
    this.opened = fs.fstatSync(fd).size;
  }

  async size(): Promise<number> {
    return fs.fstatSync(this.fd).size;
  }

  async read(into: Buffer, offset: number, length: number, position: number): Promise<number> {
    return (await read(this.fd, into, offset, length, position)).bytesRead;
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}

/** Only the frames that are wanted are unpacked. */
class ZstdSource implements Source {
  #table: SeekTable | undefined;
  #frame: { index: number; data: Buffer } | undefined;

  constructor(private readonly fd: number) {}

  async size(): Promise<number> {
    return (await this.#load()).size;
  }

  async read(into: Buffer, offset: number, length: number, position: number): Promise<number> {
    const table = await this.#load();
    if (position >= table.size) return 0;
    const index = table.frames.findLastIndex((frame) => frame.start <= position);
    if (this.#frame?.index !== index) this.#frame = { index, data: await readFrame(this.fd, table.frames[index]!) };
    const from = position - table.frames[index]!.start;
    return this.#frame.data.copy(into, offset, from, Math.min(from + length, this.#frame.data.length));
  }

  async #load(): Promise<SeekTable> {
    this.#table ??= await readSeekTable(this.fd);
    return this.#table;
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}

/** gzip knows no seeking: it is unpacked into a file that has no name. */
class GzipSource implements Source {
  #plain: Promise<PlainSource> | undefined;

  constructor(
    private readonly fd: number,
    private readonly path: string,
  ) {}

  async size(): Promise<number> {
    return (await this.#unpacked()).size();
  }

  async read(into: Buffer, offset: number, length: number, position: number): Promise<number> {
    return (await this.#unpacked()).read(into, offset, length, position);
  }

  #unpacked(): Promise<PlainSource> {
    this.#plain ??= this.#unpack();
    return this.#plain;
  }

  async #unpack(): Promise<PlainSource> {
    const name = `${this.path}.${process.pid}-${counter++}`;
    const out = fs.openSync(name, "wx+", 0o600);
    fs.unlinkSync(name);
    try {
      const from = fs.createReadStream("", { fd: this.fd, autoClose: false, start: 0 });
      // What was cut short still has its beginning.
      await pipeline(from, zlib.createGunzip(), fs.createWriteStream("", { fd: out, autoClose: false })).catch(
        () => {},
      );
    } finally {
      fs.closeSync(this.fd);
    }
    return new PlainSource(out);
  }

  close(): void {
    if (this.#plain === undefined) fs.closeSync(this.fd);
    else {
      this.#plain.then(
        (plain) => plain.close(),
        () => {},
      );
    }
  }
}
let counter = 0;
