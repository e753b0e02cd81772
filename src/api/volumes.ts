import { parseFilters } from "../engine/filters.ts";
import { VOLUME_FILTERS, VOLUME_PRUNE_FILTERS } from "../engine/volumes/list.ts";
import { type Call, empty, flag, type Handler, json, jsonBody } from "./call.ts";

const name = (call: Call) => call.params[0]!;
const filters = (call: Call, known: readonly string[]) => parseFilters(call.query.get("filters") ?? "", known);

const copy = (call: Call) => ({ live: flag(call.query, "live"), signal: call.signal });

export const volumeRoutes: Record<string, Handler> = {
  "GET /volumes": async (call) =>
    json(200, { Volumes: call.engine.volumes.list(filters(call, VOLUME_FILTERS)), Warnings: null }),
  "POST /volumes/create": async (call) => json(201, await call.engine.volumes.create(await jsonBody(call))),
  // Before 1.42 there was no difference between named and anonymous ones.
  "POST /volumes/prune": async (call) =>
    json(200, await call.engine.volumes.prune(filters(call, VOLUME_PRUNE_FILTERS), call.version < 1.42)),
  "GET /volumes/*": async (call) => json(200, call.engine.volumes.inspect(name(call))),
  "POST /inro/volumes/*/snapshot": async (call) =>
    json(
      201,
      await call.engine.volumes.copies.snapshot(name(call), await jsonBody(call, { optional: true }), copy(call)),
    ),
  "POST /inro/volumes/*/clone": async (call) =>
    json(201, await call.engine.volumes.copies.clone(name(call), await jsonBody(call), copy(call))),
  "POST /inro/volumes/*/restore": async (call) =>
    json(200, await call.engine.volumes.copies.restore(name(call), await jsonBody(call), copy(call))),
  "POST /inro/volumes/*/rename": async (call) =>
    json(200, await call.engine.volumes.copies.rename(name(call), await jsonBody(call))),
  "DELETE /volumes/*": async (call) => {
    await call.engine.volumes.remove(name(call), { force: flag(call.query, "force") });
    return empty(204);
  },
};
