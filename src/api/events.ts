import { invalid } from "../base/errors.ts";
import { parseTimeBound } from "../engine/clock.ts";
import { parseFilters } from "../engine/filters.ts";
import type { EventMessage } from "../spec/docker-api.ts";
import type { Call, Handler } from "./call.ts";

/** Keys of `filters`. */
const EVENT_FILTERS = [
  "config",
  "container",
  "daemon",
  "event",
  "image",
  "label",
  "network",
  "node",
  "plugin",
  "scope",
  "secret",
  "service",
  "type",
  "volume",
] as const;

/** Before each record of a JSON text sequence (RFC 7464). */
const RECORD_SEPARATOR = "\x1e";

export const eventRoutes: Record<string, Handler> = {
  "GET /events": async (call) => {
    const since = time(call, "since");
    const until = time(call, "until");
    if (since !== undefined && until !== undefined && since > until) {
      throw invalid("`since` time cannot be after `until` time");
    }
    const filters = parseFilters(call.query.get("filters") ?? "", EVENT_FILTERS);
    const events = call.engine.events.subscribe(
      { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }), filters },
      call.signal,
    );
    const type = contentType(call.request.headers.accept, call.version);
    const before = type === "application/json-seq" ? RECORD_SEPARATOR : "";
    return {
      status: 200,
      type,
      stream: (async function* () {
        for await (const event of events)
          if (call.sees?.(event) ?? true) yield `${before}${JSON.stringify(shown(event, call.version))}\n`;
      })(),
    };
  },
};

/** Milliseconds since the epoch. */
function time(call: Call, name: string): number | undefined {
  const text = call.query.get(name);
  if (text === null || text === "") return undefined;
  const bound = parseTimeBound(text);
  if (bound === undefined && text !== "0") {
    throw invalid(`invalid value for query parameter ${name}: ${JSON.stringify(text.slice(0, 100))}`);
  }
  return Number(bound ?? 0n) / 1e6;
}

/** What the client names first of what there is; else docker's own, which has been JSON lines since 1.52. */
function contentType(accept: string | undefined, version: number): string {
  const known = ["application/jsonl", "application/x-ndjson", "application/json-seq"];
  for (const range of accept?.split(",") ?? []) {
    const type = range.split(";", 1)[0]!.trim().toLowerCase();
    if (known.includes(type)) return type;
  }
  return version < 1.52 ? "application/json" : "application/jsonl";
}

/** Before 1.52 containers and images have three more fields, from the time before events had types. */
function shown(event: EventMessage, version: number): object {
  if (version >= 1.52) return event;
  const { Type, Action: status, Actor } = event;
  if (Type === "container") return { status, id: Actor.ID, from: Actor.Attributes.image ?? "", ...event };
  if (Type === "image") return { status, id: Actor.ID, ...event };
  return event;
}
