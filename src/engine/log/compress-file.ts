import fs from "node:fs";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";
import { compressSeekable } from "./seekable-zstd.ts";

/** What a compressed file's name ends in until it is whole. */
export const PART = ".part";

/** Compresses a file into another one, which must not exist, off the event loop. */
export async function compressFile(from: string, to: string, format: ".gz" | ".zst"): Promise<void> {
  const source = fs.openSync(from, "r");
  try {
    const target = fs.openSync(to, "wx", 0o640);
    try {
      if (format === ".zst") await compressSeekable(source, target);
      else {
        await pipeline(
          fs.createReadStream("", { fd: source, autoClose: false, start: 0 }),
          zlib.createGzip(),
          fs.createWriteStream("", { fd: target, autoClose: false }),
        );
      }
    } finally {
      fs.closeSync(target);
    }
  } finally {
    fs.closeSync(source);
  }
}
