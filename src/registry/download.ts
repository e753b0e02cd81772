import { InroError } from "../base/errors.ts";
import { release } from "../base/release.ts";
import type { BlobWriter } from "../content/blob-writer.ts";
import type { ContentStore } from "../content/store.ts";
import type { Descriptor } from "../spec/oci-image.ts";
import { isTransient, MAX_PAUSE, type Patience } from "./http.ts";
import { pause } from "./pause.ts";
import { RegistryError, type Repository } from "./repository.ts";

export interface DownloadOptions {
  /** Asked in this order: a mirror first, its origin after it. */
  repositories: Repository[];
  descriptor: Pick<Descriptor, "digest" | "size">;
  content: ContentStore;
  patience: Patience;
  signal: AbortSignal;
  /** Bytes of the blob that are there. */
  onProgress?(current: number): void;
  onRetry?(seconds: number): void;
}

const MAX_TRIES = 100;

/**
 * Puts one blob into the content store. A lost connection is taken up again where it ended, as is a partial blob of an
 * earlier download. On failure and on abort the partial blob stays for that; bytes that do not fit the digest do not.
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { repositories, patience, signal } = options;
  let source = 0;
  let fruitless = 0;
  let best = 0;
  for (let tries = 1; ; tries++) {
    const attempt = { reached: 0, resumed: false };
    try {
      await attemptDownload(repositories[source]!, options, attempt);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Mismatch && attempt.resumed) continue;
      fruitless = attempt.reached > best ? 1 : fruitless + 1;
      best = Math.max(best, attempt.reached);
      const spent = !isWorthRetrying(error) || fruitless >= patience.attempts || tries >= MAX_TRIES;
      if (!spent) {
        const asked = error instanceof RegistryError ? error.retryAfter : undefined;
        const wait = Math.min(asked ?? patience.retryDelay * 2 ** (fruitless - 1), MAX_PAUSE);
        options.onRetry?.(Math.ceil(wait / 1000));
        await pause(wait, signal);
      } else if (source + 1 < repositories.length) {
        source++;
        fruitless = 0;
      } else throw error;
    }
  }
}

class Mismatch extends InroError {}

async function attemptDownload(
  repository: Repository,
  { descriptor: { digest, size }, content, signal, onProgress }: DownloadOptions,
  attempt: { reached: number; resumed: boolean },
): Promise<void> {
  const writer = await content.writer({ digest, size });
  let state: "partial" | "wrong" | "committed" = "partial";
  try {
    if (writer.offset > size) await writer.truncate();
    attempt.resumed = writer.offset > 0;
    if (writer.offset < size || size === 0)
      await receive(repository, writer, digest, size, signal, attempt, onProgress);
    try {
      await writer.commit();
    } catch (error) {
      if (!(error instanceof InroError) || error.kind !== "invalid") throw error;
      throw new Mismatch("invalid", `filesystem layer verification failed for digest ${digest}`, { cause: error });
    }
    state = "committed";
  } catch (error) {
    if (error instanceof Mismatch) state = "wrong";
    throw error;
  } finally {
    if (state === "partial") await writer.close();
    if (state === "wrong") await writer.abort();
  }
}

async function receive(
  repository: Repository,
  writer: BlobWriter,
  digest: string,
  size: number,
  signal: AbortSignal,
  attempt: { reached: number },
  onProgress: DownloadOptions["onProgress"],
): Promise<void> {
  const start = writer.offset;
  const blob = await repository.blob(digest, start, signal).catch((error) => {
    // Nothing after what is there, though the blob should be longer: what is there is of no use.
    if (error instanceof RegistryError && error.status === 416) throw new Mismatch("invalid", error.message);
    throw error;
  });
  if (blob.offset !== start) await writer.truncate();
  let current = blob.offset;
  for await (const chunk of blob.body) {
    current += chunk.length;
    if (current > size)
      throw new Mismatch("invalid", `blob ${digest} is larger than the ${size} bytes its manifest says`);
    await writer.write(chunk);
    release(chunk);
    attempt.reached = current;
    onProgress?.(current);
  }
  if (current < size) throw new Short(`blob ${digest} ended after ${current} of ${size} bytes`);
}

class Short extends InroError {
  constructor(message: string) {
    super("unavailable", message);
  }
}

function isWorthRetrying(error: unknown): boolean {
  if (error instanceof RegistryError && (error.retryAfter ?? 0) > MAX_PAUSE) return false;
  if (error instanceof RegistryError) return error.status === 408 || error.status === 429 || error.status >= 500;
  return error instanceof Short || isTransient(error);
}
