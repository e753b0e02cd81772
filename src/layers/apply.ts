import { createHash } from "node:crypto";
import { releaseFilled } from "../base/release.ts";
import { streamed } from "../base/streamed.ts";
import { decompress, readFileChunks } from "./compression.ts";
import { TarParser } from "./tar-read.ts";
import { Unpacker } from "./unpack.ts";

/** Everything one unpacking needs; plain data, since it goes to another process. */
export interface ApplyRequest {
  /** The layer blob: a file. */
  source: string;
  /** An existing empty directory. */
  target: string;
  /** The layer directories below, top first. */
  lowers: string[];
}

export interface Applied {
  /** sha256 of the uncompressed tar, all of it. */
  diffId: string;
  /** Bytes of the files. */
  size: number;
}

/**
 * Unpacks one layer into `target`. `onProgress` hears of the bytes taken from the blob, in all.
 * On an error `target` is left half filled. Blocks the event loop for as long as single files take: see apply-process.
 */
export async function applyLayer(request: ApplyRequest, onProgress?: (bytes: number) => void): Promise<Applied> {
  const hash = createHash("sha256");
  const parser = new TarParser();
  const unpacker = new Unpacker(request.target, request.lowers);
  try {
    let taken = 0;
    const count = (bytes: number) => {
      taken += bytes;
      streamed(bytes);
      onProgress?.(taken);
    };
    for await (const chunk of decompress(readFileChunks(request.source), count)) {
      hash.update(chunk);
      for (const event of parser.push(chunk)) {
        if ("data" in event) unpacker.data(event.data);
        else if ("entry" in event) unpacker.entry(event.entry);
        else unpacker.end();
      }
      releaseFilled(chunk);
    }
    parser.end();
    unpacker.finish();
    return { diffId: `sha256:${hash.digest("hex")}`, size: unpacker.size };
  } finally {
    unpacker.close();
  }
}
