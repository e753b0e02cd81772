import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompress, detectCompression } from "./compression.ts";

const plain = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 8));
const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);
const gzip = gzipSync(plain);
const zstd = zstdCompressSync(plain);

async function inflate(data: Buffer, step = 1000): Promise<Buffer> {
  const source = (async function* () {
    for (let at = 0; at < data.length; at += step) yield data.subarray(at, at + step);
  })();
  const out: Uint8Array[] = [];
  for await (const chunk of decompress(source)) out.push(Buffer.from(chunk));
  return Buffer.concat(out);
}

test.each([
  ["none", plain],
  ["gzip", gzip],
  ["zstd", zstd],
  ["zstd", Buffer.concat([skippable, zstd])],
  ["bzip2", Buffer.from("BZh91AY")],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
  ["none", Buffer.alloc(0)],
] as const)("detects %s", (name, data) => {
  expect(detectCompression(data)).toBe(name);
});

describe("decompress", () => {
  test.each<[string, Buffer, Buffer]>([
    ["plain", plain, plain],
    ["gzip", gzip, plain],
    ["two gzip members", Buffer.concat([gzip, gzip]), Buffer.concat([plain, plain])],
    ["zstd", zstd, plain],
    ["zstd frames", Buffer.concat([zstd, skippable, zstd]), Buffer.concat([plain, plain])],
    ["zstd after a skippable frame", Buffer.concat([skippable, zstd]), plain],
    ["an empty zstd frame", zstdCompressSync(Buffer.alloc(0)), Buffer.alloc(0)],
    ["zeros, which are one RLE block", zstdCompressSync(Buffer.alloc(100_000)), Buffer.alloc(100_000)],
    ["nothing", Buffer.alloc(0), Buffer.alloc(0)],
  ])("%s", async (_, data, wanted) => {
    expect((await inflate(data)).equals(wanted)).toBe(true);
  });

  test("fed one byte at a time", async () => {
    const short = plain.subarray(0, 3000);
    for (const data of [short, gzipSync(short), zstdCompressSync(short)]) {
      expect((await inflate(data, 1)).equals(short)).toBe(true);
    }
  });

  test.each<[string, Buffer, string]>([
    ["truncated gzip", gzip.subarray(0, -1), "decompress gzip: unexpected end of file"],
    ["corrupt gzip", Buffer.from(gzip).fill(0xee, 300, 320), "decompress gzip"],
    ["garbage after gzip", Buffer.concat([gzip, Buffer.from("garbage")]), "decompress gzip"],
    ["truncated zstd", zstd.subarray(0, -1), "decompress zstd: unexpected end after"],
    ["zstd with only its magic", zstd.subarray(0, 6), "decompress zstd: unexpected end after 6 bytes"],
    ["garbage after zstd", Buffer.concat([zstd, Buffer.from("garbage")]), "decompress zstd: no frame"],
    ["bzip2", Buffer.from("BZh91AY&SY"), "bzip2 compression is not supported"],
    ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1]), "xz compression is not supported"],
  ])("refuses %s", async (_, data, message) => {
    await expect(inflate(data)).rejects.toThrow(message);
  });

  test("an error of the source comes through", async () => {
    const source = (async function* () {
      yield gzip.subarray(0, 1000);
      throw new Error("the cable is out");
    })();
    const reading = (async () => {
      for await (const _ of decompress(source));
    })();
    await expect(reading).rejects.toThrow("the cable is out");
  });

  test("leaving early closes the source", async () => {
    for (const data of [plain, gzip, zstd]) {
      let closed = false;
      const source = (async function* () {
        try {
          for (let i = 0; i < 500; i++) yield data;
          throw new Error("read to its end");
        } finally {
          closed = true;
        }
      })();
      for await (const _ of decompress(source)) break;
      expect(closed).toBe(true);
    }
  });
});
