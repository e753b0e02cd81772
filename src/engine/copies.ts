import { conflict } from "../base/errors.ts";

/** Copies into and out of one container that are in progress. */
export class Copies {
  /** Each with its end, if it uses the files of a run: one of a stopped container has that container's turn. */
  readonly #open = new Map<AbortController, Promise<void> | undefined>();

  /** A copy that is ended when `signal` fires, or by {@link abort}. Whoever began it calls `close` at its end. */
  begin(signal: AbortSignal, ofRun: boolean): { signal: AbortSignal; close(): void } {
    const controller = new AbortController();
    let ended = () => {};
    const end = ofRun
      ? new Promise<void>((resolve) => {
          ended = resolve;
        })
      : undefined;
    this.#open.set(controller, end);
    return {
      signal: AbortSignal.any([signal, controller.signal]),
      close: () => {
        this.#open.delete(controller);
        ended();
      },
    };
  }

  /** Resolves when those of now that use the files of a run are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#open.values());
  }

  /** Ends all; they fail with a conflict that says `why`. */
  abort(why: string): void {
    for (const controller of this.#open.keys()) controller.abort(conflict(why));
  }
}
