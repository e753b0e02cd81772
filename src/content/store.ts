import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, renameSync, rmSync, type Stats, statSync } from "node:fs";
import { link, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { isDigest, parseDigest, sha256 } from "../base/digest.ts";
import { codeOf, conflict, InroError, invalid, messageOf, notFound } from "../base/errors.ts";
import { type BlobWriter, IngestWriter, moveDurably } from "./blob-writer.ts";

/** A verified blob: what descriptors of the image-spec call digest and size (bytes). */
export interface BlobInfo {
  digest: string;
  size: number;
}

const ALGORITHMS = ["sha256", "sha512"] as const;
const DEFAULT_READ_LIMIT = 4 * 1024 * 1024;
/** Bytes from which on removing a file takes longer than the event loop may wait. */
const LARGE = 1024 * 1024;
const STREAM_CHUNK = 256 * 1024;

/**
 * Blobs by digest, in the folders of an OCI image layout:
 *
 *     <dir>/blobs/<algorithm>/<hex>     complete: written, fsynced, renamed
 *     <dir>/ingest/<algorithm>-<hex>    a partial download, resumed by the next writer of that digest
 *     <dir>/ingest/put-*                a {@link put} or {@link delete} that did not end; removed by the next store on this folder
 *
 * Every digest given is hostile: one that is not a canonical sha256 or sha512 is an `invalid` error before it becomes
 * a path. A digest that is not stored is `notFound`. Reading is verifying: bytes that no longer match are an error.
 * One process at a time uses a folder.
 */
export class ContentStore {
  readonly #dir: string;
  readonly #writing = new Set<string>();
  readonly #removing = new Set<Promise<void>>();

  constructor(dir: string) {
    this.#dir = dir;
    for (const algorithm of ALGORITHMS) mkdirSync(join(dir, "blobs", algorithm), { recursive: true, mode: 0o700 });
    mkdirSync(join(dir, "ingest"), { recursive: true, mode: 0o700 });
    for (const name of readdirSync(join(dir, "ingest"))) {
      if (name.startsWith("put-")) rmSync(join(dir, "ingest", name), { force: true });
    }
  }

  has(digest: string): boolean {
    return this.#stat(digest) !== undefined;
  }

  /** The blob's file, for readers that verify themselves. */
  path(digest: string): string {
    if (this.#stat(digest) === undefined) throw missing(digest);
    return this.#file(digest);
  }

  /** Bytes. */
  size(digest: string): number {
    const stat = this.#stat(digest);
    if (stat === undefined) throw missing(digest);
    return stat.size;
  }

  /** The whole blob, verified. One over `limit` bytes is an `invalid` error. */
  async read(digest: string, limit = DEFAULT_READ_LIMIT): Promise<Buffer> {
    const size = this.size(digest);
    if (size > limit) throw invalid(`read blob ${digest}: ${size} bytes, more than the ${limit} allowed here`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.stream(digest)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The blob in pieces; throws after the last one when they do not make up the digest. Use nothing before the end. */
  async *stream(digest: string): AsyncGenerator<Uint8Array, void, undefined> {
    const { algorithm, hex } = parseDigest(digest);
    const file = await open(this.path(digest), "r");
    try {
      const hash = createHash(algorithm);
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(STREAM_CHUNK), 0, STREAM_CHUNK);
        if (bytesRead === 0) break;
        const chunk = buffer.subarray(0, bytesRead);
        hash.update(chunk);
        yield chunk;
      }
      const found = hash.digest("hex");
      if (found !== hex) {
        throw new InroError(
          "internal",
          `read blob ${digest}: the file is corrupt, its digest is ${algorithm}:${found}`,
        );
      }
    } finally {
      await file.close();
    }
  }

  /** Where a blob's ingest is. It may be there or not, and what is in it is checked by nobody. */
  partial(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.#dir, "ingest", `${algorithm}-${hex}`);
  }

  /**
   * Opens the ingest of a blob that is about to arrive; `size` in bytes, where the descriptor said it. A partial ingest
   * goes on at `offset`. The caller ends it with commit, close or abort; a second writer until then is a `conflict`.
   */
  async writer(expected: { digest: string; size?: number }): Promise<BlobWriter> {
    if (expected.size !== undefined && !(Number.isSafeInteger(expected.size) && expected.size >= 0)) {
      throw invalid(`write blob ${expected.digest}: invalid size ${expected.size}`);
    }
    if (this.#writing.has(expected.digest))
      throw conflict(`write blob ${expected.digest}: it is being written already`);
    this.#writing.add(expected.digest);
    try {
      return await IngestWriter.open({
        ...expected,
        partial: this.partial(expected.digest),
        blob: this.#file(expected.digest),
        ended: () => this.#writing.delete(expected.digest),
      });
    } catch (error) {
      this.#writing.delete(expected.digest);
      throw error;
    }
  }

  /** Stores a small blob under its sha256. */
  async put(data: Uint8Array): Promise<BlobInfo> {
    const digest = sha256(data);
    if (!this.has(digest)) {
      const temporary = join(this.#dir, "ingest", `put-${randomBytes(8).toString("hex")}`);
      try {
        const file = await open(temporary, "wx", 0o600);
        try {
          await file.writeFile(data);
          await file.sync();
        } finally {
          await file.close();
        }
        await moveDurably(temporary, this.#file(digest));
      } catch (error) {
        rmSync(temporary, { force: true });
        throw new InroError("internal", `write blob ${digest}: ${messageOf(error)}`, { cause: error });
      }
    }
    return { digest, size: data.length };
  }

  /**
   * Takes over a file that the caller has written and hashed, on the store's own file system: fsynced, renamed. One that
   * is there already is as good.
   */
  async adopt(path: string, digest: string): Promise<void> {
    const target = this.#file(digest);
    try {
      const file = await open(path, "r");
      try {
        await file.sync();
      } finally {
        await file.close();
      }
      await moveDurably(path, target);
    } catch (error) {
      throw new InroError("internal", `write blob ${digest}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** {@link adopt}, and the caller keeps its name of the file. False where that is on another file system. */
  async linkFrom(path: string, digest: string): Promise<boolean> {
    if (this.has(digest)) return true;
    const temporary = join(this.#dir, "ingest", `put-${randomBytes(8).toString("hex")}`);
    try {
      await link(path, temporary);
    } catch (error) {
      if (["EXDEV", "EMLINK", "EPERM"].includes(codeOf(error) ?? "")) return false;
      throw new InroError("internal", `write blob ${digest}: ${messageOf(error)}`, { cause: error });
    }
    await this.adopt(temporary, digest).finally(() => rmSync(temporary, { force: true }));
    return true;
  }

  /**
   * Removes the blob and what a partial ingest of it left. One that is not there is no error. It is gone at once, the
   * space of a large one a little later.
   */
  delete(digest: string): void {
    const { algorithm, hex } = parseDigest(digest);
    if ((this.#stat(digest)?.size ?? 0) < LARGE) rmSync(this.#file(digest), { force: true });
    else {
      const gone = join(this.#dir, "ingest", `put-${randomBytes(8).toString("hex")}`);
      renameSync(this.#file(digest), gone);
      // What cannot be removed now goes at the next start.
      const removing = rm(gone, { force: true })
        .catch(() => {})
        .finally(() => this.#removing.delete(removing));
      this.#removing.add(removing);
    }
    if (!this.#writing.has(digest)) rmSync(join(this.#dir, "ingest", `${algorithm}-${hex}`), { force: true });
  }

  /** Waits until what was deleted has freed its space. */
  async settled(): Promise<void> {
    await Promise.all(this.#removing);
  }

  /** Every complete blob, in no order. */
  list(): BlobInfo[] {
    return ALGORITHMS.flatMap((algorithm) =>
      readdirSync(join(this.#dir, "blobs", algorithm))
        .map((hex) => `${algorithm}:${hex}`)
        .filter(isDigest)
        .flatMap((digest) => {
          const stat = this.#stat(digest);
          return stat ? [{ digest, size: stat.size }] : [];
        }),
    );
  }

  /** Removes partial ingests that nobody is writing; their bytes in total. */
  clean(): number {
    let freed = 0;
    for (const name of readdirSync(join(this.#dir, "ingest"))) {
      if (name.startsWith("put-") || this.#writing.has(name.replace("-", ":"))) continue;
      const path = join(this.#dir, "ingest", name);
      freed += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      rmSync(path, { force: true });
    }
    return freed;
  }

  #file(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.#dir, "blobs", algorithm, hex);
  }

  #stat(digest: string): Stats | undefined {
    try {
      return statSync(this.#file(digest));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }
}

const missing = (digest: string) => notFound(`no such blob: ${digest}`);
