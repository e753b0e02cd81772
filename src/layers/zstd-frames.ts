import { invalid } from "../base/errors.ts";

/**
 * Follows the frames of a zstd stream without decompressing it (RFC 8878 §3.1), to tell whether it is whole. Feed it
 * the compressed chunks, then call end().
 */
export class ZstdFrames {
  #state: "magic" | "descriptor" | "skipSize" | "block" = "magic";
  #held = Buffer.alloc(4);
  #have = 0;
  #skip = 0;
  #checksum = false;
  #offset = 0;

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, chunk.length - at);
        this.#skip -= taken;
        at += taken;
        this.#offset += taken;
        continue;
      }
      this.#held[this.#have++] = chunk[at++]!;
      this.#offset++;
      if (this.#have === NEEDS[this.#state]) {
        this.#have = 0;
        this.#step();
      }
    }
  }

  /** An `invalid` error unless the stream ended between two frames. */
  end(): void {
    if (this.#state !== "magic" || this.#have > 0 || this.#skip > 0) {
      throw invalid(`decompress zstd: unexpected end after ${this.#offset} bytes`);
    }
  }

  #step(): void {
    const held = this.#held;
    switch (this.#state) {
      case "magic": {
        const magic = held.readUInt32LE(0);
        if (magic === 0xfd2fb528) this.#state = "descriptor";
        else if ((magic & 0xfffffff0) >>> 0 === 0x184d2a50) this.#state = "skipSize";
        else throw invalid(`decompress zstd: no frame at byte ${this.#offset - 4}`);
        break;
      }
      case "skipSize":
        this.#skip = held.readUInt32LE(0);
        this.#state = "magic";
        break;
      case "descriptor": {
        const descriptor = held[0]!;
        const single = (descriptor & 0x20) !== 0;
        const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
        const dictionary = [0, 1, 2, 4][descriptor & 3]!;
        this.#checksum = (descriptor & 4) !== 0;
        this.#skip = (single ? 0 : 1) + dictionary + contentSize;
        this.#state = "block";
        break;
      }
      default: {
        const header = held.readUIntLE(0, 3);
        const size = header >> 3;
        // An RLE block stores its one byte once, whatever size it stands for.
        this.#skip = ((header >> 1) & 3) === 1 ? 1 : size;
        const last = (header & 1) === 1;
        if (last) {
          this.#skip += this.#checksum ? 4 : 0;
          this.#state = "magic";
        }
      }
    }
  }
}

const NEEDS = { magic: 4, descriptor: 1, skipSize: 4, block: 3 } as const;
