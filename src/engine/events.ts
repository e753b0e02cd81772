import type { Filters } from "./requests.ts";

/** GET /events. */
export interface EventMessage {
  Type: "container" | "image" | "volume" | "network" | "daemon";
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: "local";
  /** Seconds. */
  time: number;
  /** Nanoseconds; beyond what a double holds exactly, docker's clients read it so. */
  timeNano: number;
}

export interface EventOptions {
  /** Milliseconds since the epoch. */
  since?: number;
  until?: number;
  filters?: Filters;
}

/** What happened, for whoever listens; the last 256 are kept. */
export interface Events {
  emit(type: EventMessage["Type"], action: string, id: string, attributes: Record<string, string>): void;
  /** Ends at `until` or when `signal` fires. Past events come first. */
  subscribe(options: EventOptions, signal: AbortSignal): AsyncIterable<EventMessage>;
}
