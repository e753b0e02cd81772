import { rm } from "node:fs/promises";
import { join } from "node:path";
import { removeInChild } from "./apply-command.ts";

/**
 * Directories on their way out of one folder: removing a large layer takes too long for the event loop, so another
 * process does it, one at a time.
 */
export class LayerTrash {
  readonly #names = new Set<string>();
  /** Those of them that hold but a few files: not worth a process. */
  readonly #few = new Set<string>();
  #emptying: Promise<void> | undefined;

  constructor(private readonly directory: string) {}

  /** A name in the folder that nothing looks for any more. It goes in the background; what fails is told by who waits. */
  add(name: string, options: { few: boolean }): void {
    this.#names.add(name);
    if (options.few) this.#few.add(name);
    this.#empty().catch(() => {});
  }

  /** Resolves when this one is off the disk. */
  async remove(name: string): Promise<void> {
    this.#names.add(name);
    while (this.#names.has(name)) await this.#empty();
  }

  /** Resolves when all that was thrown away is off the disk. */
  async empty(): Promise<void> {
    while (this.#names.size > 0) await this.#empty();
  }

  #empty(): Promise<void> {
    this.#emptying ??= this.#removeAll([...this.#names]).finally(() => {
      this.#emptying = undefined;
    });
    return this.#emptying;
  }

  async #removeAll(names: string[]): Promise<void> {
    const large = names.filter((name) => !this.#few.has(name));
    for (const name of names.filter((name) => this.#few.has(name))) {
      await rm(join(this.directory, name), { recursive: true, force: true });
      this.#few.delete(name);
      this.#names.delete(name);
    }
    if (large.length > 0) await removeInChild(this.directory, large);
    for (const name of large) this.#names.delete(name);
  }
}
