import { createReadStream } from "node:fs";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { InroError, invalid, messageOf } from "../base/errors.ts";
import { ZstdFrames } from "./zstd-frames.ts";

export type Compression = "none" | "gzip" | "zstd" | "bzip2" | "xz";

/** By the first bytes (6 suffice). Anything unknown is taken for a plain tar, whose reader will complain. */
export function detectCompression(head: Uint8Array): Compression {
  const starts = (...magic: number[]) => magic.every((byte, i) => head[i] === byte);
  if (starts(0x1f, 0x8b, 0x08)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  // A zstd file may begin with a skippable frame (RFC 8878 §3.1.2).
  if ((head[0]! & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) return "zstd";
  if (starts(0x42, 0x5a, 0x68)) return "bzip2";
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  return "none";
}

const CHUNK = 256 * 1024;

/**
 * The plain bytes of a stream that is gzip, zstd or plain, detected by magic; `onCompressed` hears of the bytes taken
 * from `source`, `onDetected` of what it is before the first of them. A truncated or corrupt stream is an `invalid` error; so are bzip2 and xz, which Docker no longer
 * writes. Leaving the loop early closes `source`.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  onCompressed?: (bytes: number) => void,
  onDetected?: (compression: Compression) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    const first: Uint8Array[] = [];
    let length = 0;
    while (length < 6) {
      const { value, done } = await chunks.next();
      if (done) break;
      first.push(value);
      length += value.length;
    }
    const compression = detectCompression(Buffer.concat(first));
    onDetected?.(compression);
    const input = (async function* () {
      for (;;) {
        const held = first.shift();
        const value = held ?? (await chunks.next()).value;
        if (value === undefined) return;
        onCompressed?.(value.length);
        yield value;
      }
    })();
    if (compression === "none") yield* input;
    else if (compression === "gzip") yield* through(input, createGunzip({ chunkSize: CHUNK }), "gzip");
    else if (compression === "zstd")
      yield* through(wholeFrames(input), createZstdDecompress({ chunkSize: CHUNK }), "zstd");
    else throw invalid(`read tar: ${compression} compression is not supported (gzip, zstd and none are)`);
  } finally {
    await chunks.return?.();
  }
}

/** The chunks of a file; `decompress` of it is how layers are read. */
export function readFileChunks(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: CHUNK });
}

async function* wholeFrames(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  // The platform's decompressor ends without an error where the data is cut off.
  const frames = new ZstdFrames();
  for await (const chunk of input) {
    frames.push(chunk);
    yield chunk;
  }
  frames.end();
}

async function* through(
  input: AsyncIterable<Uint8Array>,
  transform: Transform,
  name: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceError: unknown;
  const feeding = (async () => {
    try {
      for await (const chunk of input) {
        if (transform.destroyed) return;
        if (!transform.write(chunk)) await drained(transform);
      }
      transform.end();
    } catch (error) {
      sourceError = error;
      transform.destroy(error as Error);
    }
  })();
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
    await feeding;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    if (error instanceof InroError) throw error;
    throw invalid(`decompress ${name}: ${messageOf(error)}`, error);
  } finally {
    transform.destroy();
  }
}

/** Also settles when the stream dies, so that the feeder never hangs. */
function drained(transform: Transform): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      for (const event of ["drain", "close", "error"]) transform.off(event, settle);
      resolve();
    };
    for (const event of ["drain", "close", "error"]) transform.on(event, settle);
  });
}
