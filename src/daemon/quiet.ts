import { leavePages } from "../linux/resident.ts";

/** What is given back when there was no request for so long. */
export interface Stage {
  /** Milliseconds since the last request; of later stages more. */
  after: number;
  give(): void;
}

export const STAGES: readonly Stage[] = [
  // Left alone, the runtime waits for the next allocations, which an idle engine does not make. It works beside the event loop.
  { after: 5000, give: () => Bun.gc(false) },
  // A third of an engine's memory, most of it of its start. Memory is all that a failure costs.
  { after: 60_000, give: () => void leavePages().catch(() => {}) },
];

/** Gives memory back when a busy time is over, each stage once; a request begins anew. One timer is all that it costs. */
export class Quiet {
  #last = 0;
  #stage = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly stages: readonly Stage[] = STAGES) {}

  /** There is a request, or one is over. */
  touch(): void {
    this.#last = performance.now();
    if (this.#stage > 0) this.stop();
    if (!this.#timer) this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stage = 0;
  }

  /** For the present stage; without one it is over. */
  #arm(): void {
    const stage = this.stages[this.#stage];
    if (!stage) {
      this.stop();
      return;
    }
    const left = () => this.#last + stage.after - performance.now();
    this.#timer = setTimeout(() => {
      if (left() <= 0) {
        stage.give();
        this.#stage++;
      }
      this.#arm();
    }, left());
    this.#timer.unref();
  }
}
