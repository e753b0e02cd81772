import { createHash, type Hash, randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseDigest } from "../../base/digest.ts";
import { codeOf } from "../../base/errors.ts";
import { ProtocolError } from "./errors.ts";

interface Upload {
  repo: string;
  path: string;
  offset: number;
  /** sha256 of what is there; absent after a restart, until it is needed. */
  hash?: Hash;
  busy: boolean;
}

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const CHUNK = 1024 * 1024;
const MAX_UPLOADS = 10_000;

/**
 * Blobs on their way in: a file each, below its repository, so that an upload goes on after a restart:
 *
 *     <dir>/uploads/<repository, with + for />/<id>
 *
 * A request holds its upload alone.
 */
export class Uploads {
  readonly #dir: string;
  readonly #uploads = new Map<string, Upload>();

  constructor(dir: string) {
    this.#dir = join(dir, "uploads");
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const repo of readdirSync(this.#dir)) {
      for (const id of readdirSync(join(this.#dir, repo))) {
        const path = join(this.#dir, repo, id);
        if (!ID.test(id)) continue;
        this.#uploads.set(id, {
          repo: repo.replaceAll("+", "/"),
          path,
          offset: statSync(path).size,
          busy: false,
        });
      }
    }
  }

  /** Begins one; its id. */
  async begin(repo: string): Promise<string> {
    if (this.#uploads.size >= MAX_UPLOADS) {
      throw new ProtocolError("TOOMANYREQUESTS", `${MAX_UPLOADS} uploads have begun and not ended`);
    }
    const id = randomUUID();
    const folder = join(this.#dir, folderOf(repo));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, id);
    await (await open(path, "wx", 0o600)).close();
    this.#uploads.set(id, { repo, path, offset: 0, hash: createHash("sha256"), busy: false });
    return id;
  }

  /** Bytes that are there. BLOB_UPLOAD_UNKNOWN for one that is not of this repository. */
  offset(repo: string, id: string): number {
    return this.#find(repo, id).offset;
  }

  /** Appends what comes; what came before an error stays. `limit`: no more bytes than these. Gives the new offset. */
  async append(repo: string, id: string, body: AsyncIterable<Uint8Array>, limit: number): Promise<number> {
    return this.#alone(repo, id, async (upload) => {
      const file = await open(upload.path, "r+");
      try {
        const hash = await hashed(upload, file);
        let left = limit;
        for await (const chunk of body) {
          if (chunk.length > left) throw new ProtocolError("SIZE_INVALID", "more bytes than the request said");
          left -= chunk.length;
          await write(file, chunk, upload, hash);
        }
        return upload.offset;
      } finally {
        await file.close();
      }
    });
  }

  /**
   * Ends an upload whose content is this digest: `take` gets its file, which it must move away. Other content is
   * DIGEST_INVALID and the upload is gone.
   */
  async finish(repo: string, id: string, digest: string, take: (path: string) => Promise<void>): Promise<void> {
    await this.#alone(repo, id, async (upload) => {
      const found = await this.#digest(upload, parseDigest(digest).algorithm);
      if (found === digest) await take(upload.path);
      this.#uploads.delete(id);
      await rm(upload.path, { force: true });
      if (found !== digest) {
        throw new ProtocolError("DIGEST_INVALID", "provided digest did not match uploaded content", {
          detail: { provided: digest, found },
        });
      }
    });
  }

  cancel(repo: string, id: string): void {
    const upload = this.#find(repo, id);
    if (upload.busy) throw busy();
    this.#uploads.delete(id);
    rmSync(upload.path, { force: true });
  }

  /** Removes those that nothing has been written to for `age` milliseconds; how many. */
  sweep(age: number, now = Date.now()): number {
    let gone = 0;
    for (const [id, { path, busy }] of this.#uploads) {
      const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      if (busy || now - changed < age) continue;
      this.#uploads.delete(id);
      rmSync(path, { force: true });
      gone++;
    }
    return gone;
  }

  async #alone<T>(repo: string, id: string, work: (upload: Upload) => Promise<T>): Promise<T> {
    const upload = this.#find(repo, id);
    if (upload.busy) throw busy();
    upload.busy = true;
    try {
      return await work(upload);
    } finally {
      upload.busy = false;
    }
  }

  #find(repo: string, id: string): Upload {
    const upload = ID.test(id) ? this.#uploads.get(id) : undefined;
    if (upload?.repo !== repo) throw new ProtocolError("BLOB_UPLOAD_UNKNOWN", "no such upload in this repository");
    return upload;
  }

  async #digest(upload: Upload, algorithm: "sha256" | "sha512"): Promise<string> {
    if (algorithm === "sha256" && upload.hash) return `sha256:${upload.hash.copy().digest("hex")}`;
    const file = await open(upload.path, "r");
    try {
      return `${algorithm}:${(await hashFile(file, algorithm, upload.offset)).digest("hex")}`;
    } finally {
      await file.close();
    }
  }
}

/** One path component: a name has at most 255 characters, and no `+`. */
const folderOf = (repo: string) => repo.replaceAll("/", "+");

const busy = () =>
  new ProtocolError("BLOB_UPLOAD_INVALID", "another request is writing to this upload", { status: 409 });

async function write(file: FileHandle, chunk: Uint8Array, upload: Upload, hash: Hash): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, upload.offset).catch((error) => {
      if (codeOf(error) === "ENOSPC")
        throw new ProtocolError("UNKNOWN", "the registry's disk is full", { status: 507 });
      throw error;
    });
    // As it reaches the file, so that offset, hash and file agree after an error.
    hash.update(chunk.subarray(done, done + bytesWritten));
    upload.offset += bytesWritten;
    done += bytesWritten;
  }
}

async function hashed(upload: Upload, file: FileHandle): Promise<Hash> {
  upload.hash ??= await hashFile(file, "sha256", upload.offset);
  return upload.hash;
}

async function hashFile(file: FileHandle, algorithm: string, size: number): Promise<Hash> {
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK, size - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash;
}
