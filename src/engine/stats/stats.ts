import type { ContainerStats } from "../../spec/docker-api.ts";
import type { Container } from "../container.ts";
import type { Context } from "../context.ts";
import { statsResponse } from "./response.ts";
import { readSample, type Sample } from "./sample.ts";

const INTERVAL_MS = 1000;

/** A container that somebody watches: one reading a second, for all who do. */
class Watch {
  readonly listeners = new Set<(sample: Sample | undefined) => void>();
  latest: Sample | undefined;
  readonly #timer: Timer;

  constructor(read: () => Sample | undefined) {
    this.latest = read();
    this.#timer = setInterval(() => {
      this.latest = read();
      for (const listener of this.listeners) listener(this.latest);
    }, INTERVAL_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

/** What containers use. Nothing is read and no timer runs but for clients that are there. */
export class Stats {
  readonly #watches = new Map<Container, Watch>();

  constructor(private readonly ctx: Context) {}

  /** One reading, without the processor time before. */
  async once(ref: string): Promise<ContainerStats> {
    const container = this.ctx.table.get(ref);
    return statsResponse(container, readSample(this.ctx, container), undefined);
  }

  /** A reading a second after the first; at once, and zero, for a container that does not run. */
  async pair(ref: string, signal: AbortSignal): Promise<ContainerStats> {
    const container = this.ctx.table.get(ref);
    if (!container.isRunning) return statsResponse(container, undefined, undefined);
    let second: ContainerStats | undefined;
    let count = 0;
    for await (const reading of this.follow(ref, signal)) {
      second = reading;
      if (++count === 2) break;
    }
    return second ?? statsResponse(container, undefined, undefined);
  }

  /**
   * The first reading at once, then one a second, until `signal` fires or the container is removed; of a stopped one
   * zeros, until it runs again. A client that reads slowly gets the latest. The reference is looked up at the call.
   */
  follow(ref: string, signal: AbortSignal): AsyncIterable<ContainerStats> {
    return this.#follow(this.ctx.table.get(ref), signal);
  }

  async *#follow(container: Container, signal: AbortSignal): AsyncGenerator<ContainerStats> {
    const watch = this.#watch(container);
    let next: { sample: Sample | undefined } | undefined = { sample: watch.latest };
    let wake = () => {};
    let over = signal.aborted;
    const listener = (sample: Sample | undefined) => {
      next = { sample };
      wake();
    };
    const stop = () => {
      over = true;
      wake();
    };
    watch.listeners.add(listener);
    container.removalWaiters.add(stop);
    signal.addEventListener("abort", stop);
    let before: Sample | undefined;
    try {
      while (!over) {
        const reading = next;
        next = undefined;
        if (reading) {
          yield statsResponse(container, reading.sample, before);
          before = reading.sample;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", stop);
      container.removalWaiters.delete(stop);
      watch.listeners.delete(listener);
      if (watch.listeners.size === 0) {
        watch.end();
        this.#watches.delete(container);
      }
    }
  }

  #watch(container: Container): Watch {
    const known = this.#watches.get(container);
    if (known) return known;
    const watch = new Watch(() => readSample(this.ctx, container));
    this.#watches.set(container, watch);
    return watch;
  }
}
