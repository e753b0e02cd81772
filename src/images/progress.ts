import type { StreamMessage } from "../spec/docker-api.ts";

const INTERVAL = 100;

/** Docker's status messages of one operation; progress of one id is passed on at most ten times a second. */
export class Progress {
  private readonly last = new Map<string, number>();

  constructor(private readonly onMessage: (message: StreamMessage) => void) {}

  /** The line above the layers; `id` is the tag. */
  begin(status: string, id: string): void {
    this.onMessage({ status, id });
  }

  /** A new state of a layer, or without `id` of the whole. */
  say(status: string, id?: string): void {
    this.onMessage(id === undefined ? { status } : { status, progressDetail: {}, id });
  }

  /** What programs read. */
  aux(aux: object): void {
    this.onMessage({ progressDetail: {}, aux });
  }

  advance(status: string, id: string, current: number, total: number): void {
    const key = `${id} ${status}`;
    const now = performance.now();
    if (current < total && now - (this.last.get(key) ?? Number.NEGATIVE_INFINITY) < INTERVAL) return;
    this.last.set(key, now);
    this.onMessage({ status, progressDetail: { current, total }, id });
  }
}
