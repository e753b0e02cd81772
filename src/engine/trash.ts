import { renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, messageOf } from "../base/errors.ts";
import { isSmallTree, removeTreeInTurns } from "../layers/remove-tree.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";

/**
 * Directories on their way out: gone from their place at once, from the disk a little later, without anyone waiting. A
 * crash in between leaves them to the next engine, which empties the folder.
 */
export class Trash {
  /** Names that nobody has begun to delete. */
  #waiting: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #pending = new Set<Promise<void>>();
  #count = 0;

  /** `directory` is emptied by every engine that opens it, and is on the file system of what comes here. */
  constructor(
    private readonly directory: string,
    private readonly log: (line: string) => void,
  ) {}

  /** Whether something is still being deleted. */
  get busy(): boolean {
    return this.#waiting.length + this.#pending.size > 0;
  }

  /** Nothing there is no error. */
  discard(path: string): void {
    const name = `trash-${process.pid}-${this.#count++}`;
    try {
      renameSync(path, join(this.directory, name));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    this.#waiting.push(name);
    this.#timer ??= setTimeout(() => this.sweep(), LATER_MS);
  }

  /** The engine has a moment to spare: what waits to be deleted is. Without a call it is, a little later. */
  sweep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const name of this.#waiting.splice(0)) {
      const removal = this.#remove(name).finally(() => this.#pending.delete(removal));
      this.#pending.add(removal);
    }
  }

  /** Resolves when all that was discarded by now is off the disk. */
  async empty(): Promise<void> {
    this.sweep();
    await Promise.all(this.#pending);
  }

  async #remove(name: string): Promise<void> {
    let fd: number | undefined;
    try {
      fd = openat(k.AT_FDCWD, this.directory, k.O_RDONLY | k.O_DIRECTORY);
      // One errand for the thread pool, where most containers leave a dozen names behind.
      if (isSmallTree(fd, name)) await rm(join(this.directory, name), { recursive: true, force: true });
      else await removeTreeInTurns(fd, name);
    } catch (error) {
      this.log(`delete ${join(this.directory, name)}: ${messageOf(error)}`);
    } finally {
      if (fd !== undefined) close(fd);
    }
  }
}

/** Whoever asked for a removal is answered first, and what he asks next too. */
const LATER_MS = 10;
