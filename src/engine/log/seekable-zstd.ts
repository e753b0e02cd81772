import fs from "node:fs";
import { promisify } from "node:util";
import zlib from "node:zlib";

/**
 * The Zstandard Seekable Format (contrib/seekable_format of zstd): frames of their own one after the other, and their
 * sizes in a skippable frame at the end, so that any part can be unpacked alone. `zstd -d` reads it like any other file.
 */

/** Bytes of content in a frame; the last has fewer. */
const FRAME = 1 << 20;
const SKIPPABLE_MAGIC = 0x184d2a5e;
const SEEKABLE_MAGIC = 0x8f92eab1;
const FOOTER = 9;
const ENTRY = 8;
const MOST_FRAMES = 1 << 20;

const read = promisify(fs.read);
const write = promisify(fs.write) as (fd: number, data: Buffer) => Promise<{ bytesWritten: number }>;
const compress = promisify(zlib.zstdCompress) as (data: Buffer) => Promise<Buffer>;
const decompress = promisify(zlib.zstdDecompress) as (data: Buffer) => Promise<Buffer>;

/** Compresses the file `from` into `to`; both descriptors stay the caller's. Off the event loop, frame by frame. */
export async function compressSeekable(from: number, to: number): Promise<void> {
  const frames: [compressed: number, size: number][] = [];
  for (let position = 0; ; position += FRAME) {
    const data = Buffer.allocUnsafeSlow(FRAME);
    let length = 0;
    for (;;) {
      const { bytesRead } = await read(from, data, length, FRAME - length, position + length);
      length += bytesRead;
      if (bytesRead === 0 || length === FRAME) break;
    }
    if (length === 0) break;
    const packed = await compress(data.subarray(0, length));
    await writeAll(to, packed);
    frames.push([packed.length, length]);
    if (length < FRAME) break;
  }
  const table = Buffer.alloc(8 + frames.length * ENTRY + FOOTER);
  table.writeUInt32LE(SKIPPABLE_MAGIC, 0);
  table.writeUInt32LE(table.length - 8, 4);
  frames.forEach(([packed, size], i) => {
    table.writeUInt32LE(packed, 8 + i * ENTRY);
    table.writeUInt32LE(size, 12 + i * ENTRY);
  });
  table.writeUInt32LE(frames.length, table.length - FOOTER);
  table.writeUInt32LE(SEEKABLE_MAGIC, table.length - 4);
  await writeAll(to, table);
}

async function writeAll(fd: number, data: Buffer): Promise<void> {
  for (let done = 0; done < data.length; ) done += (await write(fd, data.subarray(done))).bytesWritten;
}

interface Frame {
  /** Of the content. */
  start: number;
  size: number;
  /** In the file. */
  at: number;
  packed: number;
}

export interface SeekTable {
  /** Of all content. */
  size: number;
  frames: Frame[];
}

/** The table of a file; one without content for what is no such file. */
export async function readSeekTable(fd: number): Promise<SeekTable> {
  const none = { size: 0, frames: [] };
  const { size } = fs.fstatSync(fd);
  const footer = Buffer.alloc(FOOTER);
  if (size < FOOTER || (await read(fd, footer, 0, FOOTER, size - FOOTER)).bytesRead < FOOTER) return none;
  const count = footer.readUInt32LE(0);
  const table = Buffer.alloc(count <= MOST_FRAMES ? count * ENTRY : 0);
  const at = size - FOOTER - table.length;
  if (footer.readUInt32LE(5) !== SEEKABLE_MAGIC || table.length === 0 || at < 8) return none;
  await read(fd, table, 0, table.length, at);
  const frames: Frame[] = [];
  let [start, position] = [0, 0];
  for (let i = 0; i < count; i++) {
    const frame = {
      start,
      size: table.readUInt32LE(i * ENTRY + 4),
      at: position,
      packed: table.readUInt32LE(i * ENTRY),
    };
    if (frame.size > FRAME || frame.at + frame.packed > at) return none;
    frames.push(frame);
    start += frame.size;
    position += frame.packed;
  }
  return { size: start, frames };
}

/** The content of a frame. One that is damaged reads as zeros. */
export async function readFrame(fd: number, frame: Frame): Promise<Buffer> {
  const packed = Buffer.allocUnsafeSlow(frame.packed);
  await read(fd, packed, 0, packed.length, frame.at);
  try {
    const data = await decompress(packed);
    if (data.length === frame.size) return data;
  } catch {
    // Below.
  }
  return Buffer.alloc(frame.size);
}
