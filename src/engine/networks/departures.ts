import type { NetworkStack } from "../../network/host.ts";

const LOOK_EVERY_MS = 5;
const LONGEST_MS = 5000;
const MOST = 10_000;

/** Host interfaces that go with their containers' namespaces: the kernel is at it. */
export class Departures {
  readonly #names = new Set<string>();

  add(name: string): void {
    // Nobody waits for so many.
    if (this.#names.size > MOST) this.#names.clear();
    this.#names.add(name);
  }

  /** Resolves when the kernel has taken them apart. */
  async settled(stack: NetworkStack): Promise<void> {
    const end = Date.now() + LONGEST_MS;
    while (this.#names.size > 0 && Date.now() < end) {
      const there = new Set(stack.links().map(({ name }) => name));
      for (const name of this.#names) if (!there.has(name)) this.#names.delete(name);
      if (this.#names.size > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    this.#names.clear();
  }
}
