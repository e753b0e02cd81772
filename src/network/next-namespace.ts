import { createNetworkNamespace, type NetworkNamespace } from "./namespace.ts";

/** What is set for namespaces to come (net.ipv4.conf.default, ip-sysctl) is to count soon. */
const GOOD_MS = 10_000;

/**
 * A network namespace that is there before it is needed: the kernel takes about a millisecond to make one, which a launch
 * need not wait for. It is made while the one before is starting; nobody is in it, and it goes with its descriptor.
 */
export class NextNamespace {
  #next: NetworkNamespace | undefined;
  #madeAt = 0;
  #launches = 0;

  /** For how many milliseconds one is as good as a new one. */
  constructor(private readonly good = GOOD_MS) {}

  get ready(): boolean {
    return this.#next !== undefined && performance.now() - this.#madeAt < this.good;
  }

  /** Of the one that is there. */
  get fd(): number | undefined {
    return this.#next?.fd;
  }

  /** The caller's from now on. */
  take(): NetworkNamespace {
    if (!this.ready) this.close();
    const next = this.#next;
    this.#next = undefined;
    return next ?? createNetworkNamespace();
  }

  /** For who has a millisecond to spare. What fails will fail again, and be told, when one is taken. */
  prepare(): void {
    if (this.ready) return;
    this.close();
    try {
      this.#next = createNetworkNamespace();
      this.#madeAt = performance.now();
    } catch {
      // See above.
    }
  }

  /** Waits for a launch. One that is alone leaves the time to prepare; of many, each makes its own in its own process. */
  async beside<T>(launch: Promise<T>): Promise<T> {
    this.#launches++;
    try {
      if (this.#launches === 1) this.prepare();
      return await launch;
    } finally {
      this.#launches--;
    }
  }

  close(): void {
    this.#next?.close();
    this.#next = undefined;
  }
}
