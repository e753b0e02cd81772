import type { EventMessage } from "../spec/docker-api.ts";
import { nowNanoseconds } from "./clock.ts";
import type { Filters } from "./requests.ts";

export interface EventOptions {
  /** Milliseconds since the epoch. */
  since?: number;
  until?: number;
  filters?: Filters;
}

/** What happened, for whoever listens; the last 256 are kept. */
export interface Events {
  emit(type: EventMessage["Type"], action: string, id: string, attributes: Record<string, string>): void;
  /** Ends at `until` or when `signal` fires. Past events come first, if `since` or `until` asks for them. */
  subscribe(options: EventOptions, signal: AbortSignal): AsyncIterable<EventMessage>;
}

const KEPT = 256;
/** A listener that does not read is cut off here rather than kept in memory without bound. */
const LONGEST_QUEUE = 10_000;

export class EventLog implements Events {
  readonly #past: EventMessage[] = [];
  readonly #listeners = new Set<(event: EventMessage) => void>();

  get listeners(): number {
    return this.#listeners.size;
  }

  emit(type: EventMessage["Type"], action: string, id: string, attributes: Record<string, string>): void {
    const now = nowNanoseconds();
    const event: EventMessage = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Number(now / 1_000_000_000n),
      timeNano: Number(now),
    };
    this.#past.push(event);
    if (this.#past.length > KEPT) this.#past.shift();
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(options: EventOptions, signal: AbortSignal): AsyncIterable<EventMessage> {
    const { since, until, filters = new Map() } = options;
    const wanted = (event: EventMessage) => {
      const time = event.timeNano / 1e6;
      return (
        (since === undefined || time >= since) && (until === undefined || time <= until) && matches(event, filters)
      );
    };
    const queue = since === undefined && until === undefined ? [] : this.#past.filter(wanted);
    let wake = () => {};
    let over = signal.aborted;
    const stop = () => {
      over = true;
      wake();
    };
    const listener = (event: EventMessage) => {
      if (over || !wanted(event)) return;
      queue.push(event);
      if (queue.length > LONGEST_QUEUE) stop();
      else wake();
    };
    // Listening begins with the call, not with the first read.
    this.#listeners.add(listener);
    signal.addEventListener("abort", stop);
    const left = until === undefined ? undefined : until - Date.now();
    const timer = left === undefined || left > 2 ** 31 - 1 ? undefined : setTimeout(stop, Math.max(0, left));
    const listeners = this.#listeners;
    return (async function* () {
      try {
        for (;;) {
          const event = queue.shift();
          if (event) yield event;
          else if (over) return;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        listeners.delete(listener);
        signal.removeEventListener("abort", stop);
        clearTimeout(timer);
      }
    })();
  }
}

/** Values of a key are alternatives; all keys, and all labels, must match. */
function matches(event: EventMessage, filters: Filters): boolean {
  const { ID, Attributes } = event.Actor;
  const named = (type: string, value: string) =>
    event.Type === type && (ID === value || ID.startsWith(value) || Attributes.name === value.replace(/^\//, ""));
  for (const [key, values] of filters) {
    if (values.length === 0) continue;
    const one = (value: string): boolean => {
      if (key === "type") return event.Type === value;
      if (key === "event") return event.Action === value || event.Action.startsWith(`${value}:`);
      if (key === "scope") return event.scope === value;
      if (key === "image") return named("image", value) || Attributes.image === value;
      if (key === "label") {
        const at = value.indexOf("=");
        return at === -1 ? value in Attributes : Attributes[value.slice(0, at)] === value.slice(at + 1);
      }
      return named(key, value);
    };
    if (!(key === "label" ? values.every(one) : values.some(one))) return false;
  }
  return true;
}
