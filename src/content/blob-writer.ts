import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { parseDigest } from "../base/digest.ts";
import { codeOf, InroError, invalid, messageOf } from "../base/errors.ts";

/**
 * One blob on its way in. Calls come one after another, each awaited. After commit, close or abort nothing else may
 * be called but close and abort, which then do nothing (so that a `finally` may call close).
 */
export interface BlobWriter {
  /** Bytes that are there: where a Range request goes on. */
  readonly offset: number;
  /** Appends. More bytes than the expected size are an `invalid` error. */
  write(chunk: Uint8Array): Promise<void>;
  /** Begins again at 0: the server ignored the Range. */
  truncate(): Promise<void>;
  /** Verifies size and digest, then makes the blob visible and durable. A mismatch is `invalid` and drops the bytes. */
  commit(): Promise<void>;
  /** Ends and keeps what has arrived, for the next writer of this digest. */
  close(): Promise<void>;
  /** Ends and drops what has arrived. */
  abort(): Promise<void>;
}

interface Ingest {
  digest: string;
  size?: number;
  partial: string;
  blob: string;
  ended(): void;
}

const CHUNK = 1024 * 1024;

export class IngestWriter implements BlobWriter {
  readonly #ingest: Ingest;
  readonly #file: FileHandle;
  readonly #algorithm: string;
  #hash: Hash;
  #open = true;
  offset = 0;

  private constructor(ingest: Ingest, file: FileHandle) {
    this.#ingest = ingest;
    this.#file = file;
    this.#algorithm = parseDigest(ingest.digest).algorithm;
    this.#hash = createHash(this.#algorithm);
  }

  static async open(ingest: Ingest): Promise<IngestWriter> {
    const file = await open(ingest.partial, "r+", 0o600).catch((error) => {
      if (codeOf(error) !== "ENOENT") throw error;
      return open(ingest.partial, "wx+", 0o600);
    });
    const writer = new IngestWriter(ingest, file);
    try {
      await writer.#resume();
    } catch (error) {
      await file.close();
      throw error;
    }
    return writer;
  }

  async #resume(): Promise<void> {
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, CHUNK, this.offset);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.offset += bytesRead;
    }
    if (this.offset > (this.#ingest.size ?? Number.POSITIVE_INFINITY)) await this.truncate();
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    const { digest, size } = this.#ingest;
    if (size !== undefined && this.offset + chunk.length > size) {
      throw invalid(`write blob ${digest}: more than the expected ${size} bytes`);
    }
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file
        .write(chunk, done, chunk.length - done, this.offset)
        .catch((error) => this.#fail("write", error));
      // Hashed as it reaches the file, so that offset, hash and file agree after an error in the middle of a chunk.
      this.#hash.update(chunk.subarray(done, done + bytesWritten));
      this.offset += bytesWritten;
      done += bytesWritten;
    }
  }

  async truncate(): Promise<void> {
    this.#mustBeOpen();
    await this.#file.truncate(0);
    this.#hash = createHash(this.#algorithm);
    this.offset = 0;
  }

  async commit(): Promise<void> {
    this.#mustBeOpen();
    const { digest, size, partial, blob } = this.#ingest;
    if (size !== undefined && this.offset !== size) {
      throw invalid(`write blob ${digest}: ${this.offset} bytes have arrived, ${size} expected`);
    }
    const found = `${this.#algorithm}:${this.#hash.copy().digest("hex")}`;
    if (found !== digest) {
      await this.abort();
      throw invalid(`write blob ${digest}: the digest of what has arrived is ${found}`);
    }
    await this.#file.sync().catch((error) => this.#fail("fsync", error));
    await moveDurably(partial, blob).catch((error) => this.#fail("rename", error));
    await this.close();
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      await this.#file.close();
    } finally {
      this.#ingest.ended();
    }
  }

  async abort(): Promise<void> {
    if (!this.#open) return;
    await rm(this.#ingest.partial, { force: true });
    await this.close();
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new InroError("internal", `write blob ${this.#ingest.digest}: the writer has ended`);
  }

  #fail(operation: string, error: unknown): never {
    const hint = codeOf(error) === "ENOSPC" ? " (the disk is full)" : "";
    throw new InroError("internal", `write blob ${this.#ingest.digest}: ${operation}: ${messageOf(error)}${hint}`, {
      cause: error,
    });
  }
}

/** Renames a file that has been fsynced, and makes the new name itself durable. */
export async function moveDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  const directory = await open(dirname(to), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
