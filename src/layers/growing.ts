import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { invalid } from "../base/errors.ts";

const readAt = promisify(read);
const CHUNK = 256 * 1024;

/** A file that somebody appends to. Its writer tells how far it is; a reader in another process hears of it by a pipe. */
export class GrowingFile {
  readonly #listeners = new Set<() => void>();
  readonly #begun = Promise.withResolvers<void>();
  #ended = false;

  /** `size`: bytes of all of it. */
  constructor(
    readonly path: string,
    readonly size: number,
  ) {}

  /** Resolves when there is something to read, and when there never will be. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** There is more of it. */
  grown(): void {
    this.#begun.resolve();
    for (const listener of this.#listeners) listener();
  }

  /** Nothing more comes: it is whole, or will not be. */
  end(): void {
    this.#ended = true;
    this.grown();
  }

  /** Wakes what reads at the other end of `pipe`, until the file has ended. The result ends that earlier. */
  wake(pipe: { write(bytes: string): unknown; end(): unknown }): () => void {
    const listener = () => {
      if (this.#ended) pipe.end();
      else pipe.write(".");
    };
    this.#listeners.add(listener);
    listener();
    return () => this.#listeners.delete(listener);
  }
}

/**
 * The chunks of a file that grows to `size` bytes, each as soon as it is there; `wakes` says when to look again. One that
 * ends before is invalid. What is read may still be replaced: whoever reads must check it by its digest.
 */
export async function* readGrowing(
  path: string,
  size: number,
  wakes: AsyncIterable<unknown>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const wake = wakes[Symbol.asyncIterator]();
  const file = openSync(path, "r");
  try {
    for (let offset = 0, ended = false; offset < size; ) {
      const buffer = Buffer.allocUnsafe(CHUNK);
      const { bytesRead } = await readAt(file, buffer, 0, Math.min(CHUNK, size - offset), offset);
      offset += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (ended) throw invalid(`read ${path}: it ended after ${offset} of ${size} bytes`);
      else ended = (await wake.next()).done === true;
    }
  } finally {
    closeSync(file);
  }
}
