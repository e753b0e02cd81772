import { unlessAborted } from "../registry/pause.ts";

interface Flight<T, E> {
  result: Promise<T>;
  settled: Promise<unknown>;
  controller: AbortController;
  listeners: Set<(event: E) => void>;
  last: E | undefined;
}

/**
 * Work that several callers want at the same time and that is done once: the arrival of a blob. `E` is what the work
 * reports while it runs.
 */
export class Flights<T, E> {
  private readonly flights = new Map<string, Flight<T, E>>();

  /**
   * Starts the work, or joins it when `key` is being worked on. The work is aborted when its last caller's signal is,
   * and that caller returns only after it ended. A caller that joined work that failed tries on its own.
   */
  async run(
    key: string,
    caller: { signal: AbortSignal; onEvent(event: E): void },
    work: (signal: AbortSignal, emit: (event: E) => void) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      caller.signal.throwIfAborted();
      let flight = this.flights.get(key);
      if (flight?.controller.signal.aborted) {
        await unlessAborted(flight.settled, caller.signal);
        continue;
      }
      const joined = flight !== undefined;
      flight ??= this.start(key, work);
      const listener = (event: E) => caller.onEvent(event);
      flight.listeners.add(listener);
      if (flight.last !== undefined) listener(flight.last);
      try {
        return await unlessAborted(flight.result, caller.signal);
      } catch (error) {
        if (!joined || caller.signal.aborted) throw error;
      } finally {
        flight.listeners.delete(listener);
        if (flight.listeners.size === 0) {
          flight.controller.abort(caller.signal.reason);
          await flight.settled;
        }
      }
    }
  }

  private start(key: string, work: (signal: AbortSignal, emit: (event: E) => void) => Promise<T>): Flight<T, E> {
    const { promise: result, resolve, reject } = Promise.withResolvers<T>();
    const settled = result.then(
      () => this.flights.delete(key),
      () => this.flights.delete(key),
    );
    const controller = new AbortController();
    const flight: Flight<T, E> = { result, settled, controller, listeners: new Set(), last: undefined };
    const emit = (event: E) => {
      flight.last = event;
      for (const listener of flight.listeners) listener(event);
    };
    this.flights.set(key, flight);
    work(controller.signal, emit).then(resolve, reject);
    return flight;
  }
}
