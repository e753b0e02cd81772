import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import { InroError } from "../base/errors.ts";
import { streamed } from "../base/streamed.ts";

/** Plain data, since it goes to another process. */
export interface CompressRequest {
  source: string;
  /** The source's sha256, which is verified. */
  digest: string;
  /** A file that does not exist. */
  target: string;
  form: CompressedForm;
}

export type CompressedForm = "gzip" | "zstd";

/** What was written. */
export interface Compressed {
  digest: string;
  size: number;
}

const CHUNK = 1 << 18;

/**
 * Compresses a file. Equal bytes give equal bytes: gzip's header has neither time nor name (RFC 1952), and the levels are
 * those that registries' other clients use. On an error the target is left half written.
 */
export async function compressFile({ source, digest, target, form }: CompressRequest): Promise<Compressed> {
  const before = createHash("sha256");
  const after = createHash("sha256");
  let size = 0;
  const compressor = form === "gzip" ? createGzip({ chunkSize: CHUNK }) : createZstdCompress({ chunkSize: CHUNK });
  await pipeline(
    createReadStream(source, { highWaterMark: CHUNK }),
    tap((chunk) => before.update(chunk)),
    compressor,
    tap((chunk) => {
      after.update(chunk);
      size += chunk.length;
    }),
    createWriteStream(target, { flags: "wx", mode: 0o600 }),
  );
  const actual = `sha256:${before.digest("hex")}`;
  if (actual !== digest) {
    throw new InroError("internal", `compress layer ${digest}: the file is corrupt, its digest is ${actual}`);
  }
  return { digest: `sha256:${after.digest("hex")}`, size };
}

function tap(hear: (chunk: Uint8Array) => void): Transform {
  return new Transform({
    transform(chunk, _, done) {
      hear(chunk);
      streamed(chunk.length);
      done(null, chunk);
    },
  });
}
