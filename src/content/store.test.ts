import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { ContentStore } from "./store.ts";

let dir: string;
let store: ContentStore;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-content-"));
  store = new ContentStore(dir);
});
afterEach(() => rmSync(dir, { recursive: true }));

const data = Buffer.from("The quick brown fox");
const digest = sha256(data);
const partial = () => join(dir, "ingest", digest.replace(":", "-"));

describe("blobs", () => {
  test("put, read, stream, size, list, delete", async () => {
    expect(await store.put(data)).toEqual({ digest, size: data.length });
    expect(store.has(digest)).toBe(true);
    expect(store.size(digest)).toBe(data.length);
    expect(readFileSync(store.path(digest))).toEqual(data);
    expect(await store.read(digest)).toEqual(data);
    expect(store.list()).toEqual([{ digest, size: data.length }]);
    expect(readdirSync(join(dir, "ingest"))).toEqual([]);
    store.delete(digest);
    expect(store.has(digest)).toBe(false);
    expect(() => store.path(digest)).toThrow(`no such blob: ${digest}`);
    expect(() => store.size(digest)).toThrow("no such blob");
    await expect(store.read(digest)).rejects.toThrow("no such blob");
  });

  test("folders and files are private", async () => {
    await store.put(data);
    expect(statSync(join(dir, "blobs")).mode & 0o777).toBe(0o700);
    expect(statSync(store.path(digest)).mode & 0o777).toBe(0o600);
  });

  test("reading is verifying", async () => {
    await store.put(data);
    writeFileSync(store.path(digest), "The quick brown fax");
    await expect(store.read(digest)).rejects.toThrow("corrupt");
    const seen: Uint8Array[] = [];
    const reading = (async () => {
      for await (const chunk of store.stream(digest)) seen.push(chunk);
    })();
    await expect(reading).rejects.toThrow("corrupt");
  });

  test("read refuses more than its limit", async () => {
    await store.put(data);
    await expect(store.read(digest, data.length - 1)).rejects.toThrow("19 bytes, more than the 18 allowed");
  });

  test.each([
    "sha256:../../../../etc/passwd",
    `sha256:${"a".repeat(63)}/`,
    `sha256:${"A".repeat(64)}`,
    `md5:${"a".repeat(32)}`,
    `sha256:${"a".repeat(64)}\0`,
    `../sha256:${"a".repeat(64)}`,
    "",
  ])("refuses the digest %j", async (hostile) => {
    for (const use of [() => store.has(hostile), () => store.path(hostile), () => store.delete(hostile)]) {
      expect(use).toThrow("invalid digest");
    }
    await expect(store.writer({ digest: hostile })).rejects.toThrow("invalid digest");
    await expect(store.read(hostile)).rejects.toThrow("invalid digest");
  });
});

describe("writer", () => {
  test("commits, sha512 too", async () => {
    const sha512 = `sha512:${createHash("sha512").update(data).digest("hex")}`;
    for (const name of [digest, sha512]) {
      const writer = await store.writer({ digest: name, size: data.length });
      await writer.write(data.subarray(0, 4));
      expect(store.has(name)).toBe(false);
      await writer.write(data.subarray(4));
      await writer.commit();
      await writer.close();
      expect(await store.read(name)).toEqual(data);
    }
    expect(readdirSync(join(dir, "ingest"))).toEqual([]);
  });

  test("resumes after close, also in another store", async () => {
    const first = await store.writer({ digest, size: data.length });
    await first.write(data.subarray(0, 7));
    await first.close();
    const second = await new ContentStore(dir).writer({ digest, size: data.length });
    expect(second.offset).toBe(7);
    await second.write(data.subarray(7));
    await second.commit();
    expect(await store.read(digest)).toEqual(data);
  });

  test("truncate begins again", async () => {
    const writer = await store.writer({ digest });
    await writer.write(Buffer.from("garbage"));
    await writer.truncate();
    expect(writer.offset).toBe(0);
    await writer.write(data);
    await writer.commit();
    expect(await store.read(digest)).toEqual(data);
  });

  test("a partial ingest longer than the blob is dropped", async () => {
    writeFileSync(partial(), "x".repeat(100));
    const writer = await store.writer({ digest, size: data.length });
    expect(writer.offset).toBe(0);
    await writer.abort();
  });

  test("a wrong digest is dropped, so that the next try is not spoilt", async () => {
    const writer = await store.writer({ digest });
    await writer.write(Buffer.from("something else"));
    await expect(writer.commit()).rejects.toThrow(`the digest of what has arrived is ${sha256("something else")}`);
    await writer.close();
    expect(store.has(digest)).toBe(false);
    expect(existsSync(partial())).toBe(false);
  });

  test("too many and too few bytes", async () => {
    const writer = await store.writer({ digest, size: 5 });
    await expect(writer.write(Buffer.alloc(6))).rejects.toThrow("more than the expected 5 bytes");
    await writer.write(Buffer.alloc(4));
    await expect(writer.commit()).rejects.toThrow("4 bytes have arrived, 5 expected");
    await writer.close();
    expect(existsSync(partial())).toBe(true);
  });

  test("one writer at a time; an ended one writes no more", async () => {
    const writer = await store.writer({ digest });
    await expect(store.writer({ digest })).rejects.toThrow("being written already");
    await writer.abort();
    await expect(writer.write(data)).rejects.toThrow("has ended");
    const next = await store.writer({ digest });
    expect(next.offset).toBe(0);
    await next.close();
  });
});

test("clean removes partial ingests, the constructor unfinished puts", async () => {
  const writer = await store.writer({ digest });
  await writer.write(data);
  const other = sha256("other");
  writeFileSync(join(dir, "ingest", other.replace(":", "-")), "12345");
  expect(store.clean()).toBe(5);
  expect(writer.offset).toBe(data.length);
  await writer.commit();
  writeFileSync(join(dir, "ingest", "put-00"), "");
  new ContentStore(dir);
  expect(readdirSync(join(dir, "ingest"))).toEqual([]);
});
